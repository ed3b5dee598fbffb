//! Earlier versions of an event: `1 = DepositedV1, 2 = DepositedV2`, each a struct that becomes the next.

use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::parse::{Parse, ParseStream};
use syn::spanned::Spanned;
use syn::{LitStr, Token, Type};

use super::naming::{parse_name, parse_version};
use crate::paths::Paths;

/// The structs of consecutive versions, the oldest first.
#[derive(Default)]
pub(super) struct Earlier(Vec<Old>);

/// An old version and the struct that reads it.
struct Old {
    version: u16,
    /// Where the version stands.
    span: Span,
    ty: Type,
}

impl Parse for Earlier {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let mut all = Vec::<Old>::new();
        while !input.is_empty() {
            let old = Old::parse(input)?;
            if all.last().is_some_and(|before| before.version.checked_add(1) != Some(old.version)) {
                let reason = "the versions go up by one: each struct becomes the next";
                return Err(syn::Error::new(old.span, reason));
            }
            all.push(old);
            if input.parse::<Option<Token![,]>>()?.is_none() && !input.is_empty() {
                return Err(input.error("expected a comma"));
            }
        }
        Ok(Self(all))
    }
}

impl Parse for Old {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let span = input.span();
        let version = parse_version(input)?;
        input.parse::<Token![=]>()?;
        Ok(Self { version, span, ty: input.parse()? })
    }
}

impl Earlier {
    /// The last of them is the one before `version`.
    pub(super) fn check_below(&self, version: u16) -> syn::Result<()> {
        match self.0.last() {
            Some(last) if last.version.checked_add(1) != Some(version) => {
                let reason =
                    format!("the last struct is of the version before the event's own, which is {version}");
                Err(syn::Error::new(last.span, reason))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn versions(&self) -> impl Iterator<Item = u16> {
        self.0.iter().map(|old| old.version)
    }

    /// Each version with what writes its shape down.
    pub(super) fn shapes(&self, paths: &Paths) -> Vec<(u16, TokenStream)> {
        let persistence = &paths.persistence;
        let shape = |Old { version, ty, .. }: &Old| {
            (*version, quote_spanned!(ty.span()=> <#ty as #persistence::Shape>::describe))
        };
        self.0.iter().map(shape).collect()
    }

    /// Arms that decode `payload` and walk it up to the events of today.
    pub(super) fn decoders(&self, names: &TokenStream, paths: &Paths) -> Vec<TokenStream> {
        let arm = |(at, Old { version, ty, .. }): (usize, &Old)| {
            let walk = self.walk(at, paths);
            quote!((#names, #version) => codec.decode::<#ty>(payload).map(|old| #walk))
        };
        self.0.iter().enumerate().map(arm).collect()
    }

    fn walk(&self, from: usize, paths: &Paths) -> TokenStream {
        let persistence = &paths.persistence;
        let steps = self.0[from..].windows(2).map(|pair| {
            let (old, next) = (&pair[0].ty, &pair[1].ty);
            quote_spanned!(old.span()=> let old: #next = <#old as #persistence::Upcast>::upcast(old);)
        });
        let last = self.0.last().map(|old| &old.ty);
        let end = quote_spanned! {last.span()=>
            <<#last as #persistence::Upcast>::Next as #persistence::IntoEvents<Self>>::into_events(
                <#last as #persistence::Upcast>::upcast(old),
            )
        };
        quote!({ #(#steps)* #end })
    }

    /// Arms that decode `payload` and write it anew in codec `to`.
    pub(super) fn transcoders(&self, names: &TokenStream) -> Vec<TokenStream> {
        let arm = |Old { version, ty, .. }: &Old| {
            let anew = quote!(from.decode::<#ty>(payload).and_then(|old| to.encode(&old)));
            quote!((#names, #version) => #anew)
        };
        self.0.iter().map(arm).collect()
    }
}

/// A type that is written no more: `retired("order-placed", 1 = OrderPlacedV1)`.
pub(super) struct Retired {
    pub(super) name: LitStr,
    pub(super) earlier: Earlier,
}

impl Parse for Retired {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let name = parse_name(input)?;
        if input.parse::<Option<Token![,]>>()?.is_none() || input.is_empty() {
            let reason = "say how its records are read, as in `retired(\"order-placed\", 1 = OrderPlacedV1)`";
            return Err(syn::Error::new_spanned(name, reason));
        }
        Ok(Self { name, earlier: input.parse()? })
    }
}
