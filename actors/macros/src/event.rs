//! `#[derive(Event)]`.

mod bincode;
mod earlier;
mod fields;
mod naming;
mod reading;
mod schemas;

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Data, DeriveInput, Fields, Variant, parenthesized};

use crate::attributes::named;
use crate::paths::Paths;
use earlier::Retired;
use fields::Proxy;
use naming::{Codec, Naming, Taken};

pub(crate) use naming::parse_version;

pub(crate) fn expand(input: &DeriveInput) -> syn::Result<TokenStream> {
    refuse_generics(input)?;
    let paths = Paths::of(input)?;
    let cases = Cases { current: cases(input, &paths)?, retired: retired(input)? };
    cases.refuse_duplicates()?;
    Ok(implementation(input, &paths, &cases))
}

fn refuse_generics(input: &DeriveInput) -> syn::Result<()> {
    if input.generics.params.is_empty() {
        return Ok(());
    }
    Err(syn::Error::new_spanned(
        &input.generics,
        "an event type cannot be generic: its stored name and schema version stand for one shape",
    ))
}

/// Every event type that can be read back.
struct Cases {
    current: Vec<Case>,
    retired: Vec<Retired>,
}

impl Cases {
    fn refuse_duplicates(&self) -> syn::Result<()> {
        let mut taken = Taken::default();
        self.current.iter().try_for_each(|case| taken.take(&case.naming))?;
        for Retired { name, earlier } in &self.retired {
            for version in earlier.versions() {
                taken.one(&name.value(), version, name.span())?;
            }
        }
        Ok(())
    }
}

/// The types of an enum that are written no more.
fn retired(input: &DeriveInput) -> syn::Result<Vec<Retired>> {
    // A struct's attribute is its name.
    if !matches!(input.data, Data::Enum(_)) {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    for attribute in named(&input.attrs, &["event"]) {
        attribute.parse_nested_meta(|meta| {
            if !meta.path.is_ident("retired") {
                return Err(meta.error("only `retired(\"name\", 1 = NameV1)` is known here"));
            }
            let content;
            parenthesized!(content in meta.input);
            found.push(content.parse()?);
            Ok(())
        })?;
    }
    Ok(found)
}

/// One event type: its name, and how its fields are written and read.
struct Case {
    naming: Naming,
    /// Matches a value, whatever its fields.
    matcher: TokenStream,
    /// An arm that matches a value and encodes its fields.
    encode: TokenStream,
    /// An expression that decodes `payload` into a `Result<Self, CodecError>`.
    decode: TokenStream,
    /// A function that writes the payload's shape down.
    describe: TokenStream,
}

fn cases(input: &DeriveInput, paths: &Paths) -> syn::Result<Vec<Case>> {
    match &input.data {
        Data::Enum(data) => collect(data.variants.iter().map(|variant| variant_case(input, variant, paths))),
        Data::Struct(data) => Ok(vec![struct_case(input, &data.fields, paths)?]),
        Data::Union(_) => Err(syn::Error::new_spanned(&input.ident, "an event is an enum or a struct")),
    }
}

/// All of them, or every error there is: one compilation shows what is left to do.
fn collect(cases: impl Iterator<Item = syn::Result<Case>>) -> syn::Result<Vec<Case>> {
    let mut found = Vec::new();
    let mut errors: Option<syn::Error> = None;
    for case in cases {
        match (case, &mut errors) {
            (Ok(case), _) => found.push(case),
            (Err(error), Some(all)) => all.combine(error),
            (Err(error), none) => *none = Some(error),
        }
    }
    errors.map_or(Ok(found), Err)
}

fn struct_case(input: &DeriveInput, fields: &Fields, paths: &Paths) -> syn::Result<Case> {
    let naming = Naming::read(&input.attrs, &input.ident, "struct")?;
    naming.check_codec(&input.attrs, fields)?;
    Ok(Case {
        describe: schemas::of_struct(input, fields, paths)?,
        matcher: quote!(_),
        encode: quote!(value => codec.encode(value)),
        decode: quote!(codec.decode::<Self>(payload)),
        naming,
    })
}

fn variant_case(input: &DeriveInput, variant: &Variant, paths: &Paths) -> syn::Result<Case> {
    let naming = Naming::read(&variant.attrs, &variant.ident, "variant")?;
    naming.check_codec(&variant.attrs, &variant.fields)?;
    let ident = &variant.ident;
    let describe = schemas::of_variant(input, variant, paths)?;
    let (matcher, encode, decode) = match &variant.fields {
        Fields::Unit => (
            quote!(Self::#ident),
            quote!(Self::#ident => codec.encode(&())),
            quote!(codec.decode::<()>(payload).map(|()| Self::#ident)),
        ),
        _ => {
            let proxy = Proxy::new(input, variant, paths)?;
            let (encode, decode) = (proxy.encode(), proxy.decode());
            (quote!(Self::#ident { .. }), encode, decode)
        }
    };
    Ok(Case { naming, matcher, encode, decode, describe })
}

fn implementation(input: &DeriveInput, paths: &Paths, cases: &Cases) -> TokenStream {
    let (ident, persistence, current) = (&input.ident, &paths.persistence, &cases.current);
    let types = current.iter().map(|case| case.naming.event_type(paths));
    let schemas = schemas::all(paths, cases);
    let encoders = current.iter().map(|case| &case.encode);
    let (event_type, codec) = (event_type_body(paths, current), codec_body(paths, current));
    let (decode, transcode) = (reading::decode(paths, cases), reading::transcode(paths, cases));
    quote! {
        #[automatically_derived]
        impl #persistence::Event for #ident {
            const TYPES: &'static [#persistence::EventType] = &[#(#types),*];

            const SCHEMAS: &'static [#persistence::EventSchema] = &[#(#schemas),*];

            fn event_type(&self) -> #persistence::EventType {
                #event_type
            }

            fn codec(&self) -> #persistence::CodecId {
                #codec
            }

            fn encode_as(
                &self,
                codec: #persistence::CodecId,
            ) -> ::core::result::Result<::std::vec::Vec<u8>, #persistence::CodecError> {
                match self { #(#encoders,)* }
            }

            fn decode(
                name: &str,
                version: u16,
                codec: #persistence::CodecId,
                payload: &[u8],
            ) -> ::core::result::Result<#persistence::Events<Self>, #persistence::EventError> {
                #decode
            }

            #transcode
        }
    }
}

fn event_type_body(paths: &Paths, cases: &[Case]) -> TokenStream {
    let arms = cases.iter().map(|case| {
        let (matcher, event_type) = (&case.matcher, case.naming.event_type(paths));
        quote!(#matcher => #event_type)
    });
    match_self(&arms.collect::<Vec<_>>())
}

fn codec_body(paths: &Paths, cases: &[Case]) -> TokenStream {
    let persistence = &paths.persistence;
    if cases.iter().all(|case| case.naming.codec == Codec::Json) {
        return quote!(#persistence::CodecId::Json);
    }
    let arms = cases.iter().map(|case| {
        let (matcher, codec) = (&case.matcher, case.naming.codec_path(paths));
        quote!(#matcher => #codec)
    });
    match_self(&arms.collect::<Vec<_>>())
}

/// An enum without variants has no value, and a match on a reference to it must say so by a place expression.
fn match_self(arms: &[TokenStream]) -> TokenStream {
    if arms.is_empty() { quote!(match *self {}) } else { quote!(match self { #(#arms,)* }) }
}
