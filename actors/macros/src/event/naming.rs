//! `#[event("name", version = 2, codec = bincode, was = "old-name", upcast(1 = V1))]`.

use std::collections::HashSet;

use proc_macro2::{Ident, Span, TokenStream};
use quote::quote;
use syn::parse::{Parse, ParseStream};
use syn::{Attribute, Fields, LitInt, LitStr, Token, parenthesized};

use super::bincode;
use super::earlier::Earlier;
use crate::attributes::kebab_case;
use crate::paths::Paths;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Codec {
    Json,
    Bincode,
}

/// What an event type is called in the journal, how it is written there, and how it was before.
pub(super) struct Naming {
    pub(super) name: String,
    pub(super) version: u16,
    pub(super) codec: Codec,
    /// Names that it had before.
    pub(super) was: Vec<LitStr>,
    pub(super) earlier: Earlier,
    pub(super) span: Span,
}

impl Naming {
    /// Reads the attribute of a variant or a struct (`what`); it must be there once.
    pub(super) fn read(attributes: &[Attribute], ident: &Ident, what: &str) -> syn::Result<Self> {
        let mut found = attributes.iter().filter(|a| a.path().is_ident("event"));
        let Some(first) = found.next() else { return Err(missing(ident, what)) };
        if let Some(second) = found.next() {
            return Err(syn::Error::new_spanned(second, "an event type has one name: remove one of these"));
        }
        first.parse_args::<Self>()
    }

    pub(super) fn event_type(&self, paths: &Paths) -> TokenStream {
        let (name, version, persistence) = (&self.name, self.version, &paths.persistence);
        quote!(#persistence::EventType { name: #name, version: #version })
    }

    pub(super) fn codec_path(&self, paths: &Paths) -> TokenStream {
        let persistence = &paths.persistence;
        match self.codec {
            Codec::Json => quote!(#persistence::CodecId::Json),
            Codec::Bincode => quote!(#persistence::CodecId::Bincode),
        }
    }

    /// Refuses what the codec cannot write, as far as it can be seen.
    pub(super) fn check_codec(&self, attributes: &[Attribute], fields: &Fields) -> syn::Result<()> {
        match self.codec {
            Codec::Json => Ok(()),
            Codec::Bincode => bincode::check(attributes, fields),
        }
    }

    /// Every name that records of this type have.
    pub(super) fn names(&self) -> Vec<String> {
        let former = self.was.iter().map(LitStr::value);
        std::iter::once(self.name.clone()).chain(former).collect()
    }

    /// Every version that is read, under each of the names.
    fn versions(&self) -> impl Iterator<Item = u16> {
        self.earlier.versions().chain([self.version])
    }
}

fn missing(ident: &Ident, what: &str) -> syn::Error {
    let example = kebab_case(ident);
    syn::Error::new_spanned(
        ident,
        format!(
            "{what} `{ident}` has no name in the journal: add `#[event(\"{example}\")]`. Events outlive code, so \
             their names are chosen, kept for good, and never taken from Rust identifiers that someone may rename"
        ),
    )
}

impl Parse for Naming {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let name = parse_name(input)?;
        let mut naming = Self {
            name: name.value(),
            version: 1,
            codec: Codec::Json,
            was: Vec::new(),
            earlier: Earlier::default(),
            span: name.span(),
        };
        while input.parse::<Option<Token![,]>>()?.is_some() && !input.is_empty() {
            naming.parse_option(input)?;
        }
        if !input.is_empty() {
            return Err(input.error("expected a comma"));
        }
        naming.earlier.check_below(naming.version)?;
        Ok(naming)
    }
}

impl Naming {
    fn parse_option(&mut self, input: ParseStream<'_>) -> syn::Result<()> {
        let key: Ident = input.parse()?;
        if key == "upcast" {
            let content;
            parenthesized!(content in input);
            self.earlier = content.parse()?;
            return Ok(());
        }
        input.parse::<Token![=]>()?;
        if key == "version" {
            self.version = parse_version(input)?;
        } else if key == "codec" {
            self.codec = parse_codec(input)?;
        } else if key == "was" {
            self.was.push(parse_name(input)?);
        } else {
            let known = "only `version`, `codec`, `was` and `upcast(...)` are known here";
            return Err(syn::Error::new_spanned(key, known));
        }
        Ok(())
    }
}

pub(super) fn parse_name(input: ParseStream<'_>) -> syn::Result<LitStr> {
    let name: LitStr = input.parse().map_err(|error| {
        syn::Error::new(error.span(), "the event's name comes first, as in `#[event(\"order-shipped\")]`")
    })?;
    if is_name(&name.value()) {
        return Ok(name);
    }
    Err(syn::Error::new_spanned(
        &name,
        "an event's name is a lower-case letter or digit, then lower-case letters, digits, '-', '.' or '_'",
    ))
}

fn is_name(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    name.bytes().next().is_some_and(plain) && name.bytes().all(|b| plain(b) || b"-._".contains(&b))
}

/// Reads a schema version: 1 to 65535.
pub(crate) fn parse_version(input: ParseStream<'_>) -> syn::Result<u16> {
    let literal: LitInt = input.parse()?;
    match literal.base10_parse::<u16>() {
        Ok(version) if version > 0 => Ok(version),
        _ => Err(syn::Error::new_spanned(literal, "a schema version is a number from 1 to 65535")),
    }
}

fn parse_codec(input: ParseStream<'_>) -> syn::Result<Codec> {
    let ident: Ident = input.parse()?;
    match ident.to_string().as_str() {
        "json" => Ok(Codec::Json),
        "bincode" => Ok(Codec::Bincode),
        _ => Err(syn::Error::new_spanned(ident, "a codec is `json` or `bincode`")),
    }
}

/// What can be read back, so that nothing can be read as two things.
#[derive(Default)]
pub(super) struct Taken(HashSet<(String, u16)>);

impl Taken {
    /// Takes every name and version of a type.
    pub(super) fn take(&mut self, naming: &Naming) -> syn::Result<()> {
        for name in naming.names() {
            for version in naming.versions() {
                self.one(&name, version, naming.span)?;
            }
        }
        Ok(())
    }

    /// Takes a name and a version.
    pub(super) fn one(&mut self, name: &str, version: u16, span: Span) -> syn::Result<()> {
        if self.0.insert((name.to_owned(), version)) {
            return Ok(());
        }
        let reason = format!(
            "another variant is \"{name}\" version {version} already: what is read back would be either"
        );
        Err(syn::Error::new(span, reason))
    }
}
