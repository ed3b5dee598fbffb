//! `#[derive(Event)]`.

mod fields;
mod naming;

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Data, DeriveInput, Fields, Variant};

use crate::paths::Paths;
use fields::Proxy;
use naming::{Codec, Naming};

pub(crate) use naming::parse_version;

pub(crate) fn expand(input: &DeriveInput) -> syn::Result<TokenStream> {
    refuse_generics(input)?;
    let paths = Paths::of(input)?;
    let cases = cases(input, &paths)?;
    naming::refuse_duplicates(cases.iter().map(|case| &case.naming))?;
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

/// One event type: its name, and how its fields are written and read.
struct Case {
    naming: Naming,
    /// Matches a value, whatever its fields.
    matcher: TokenStream,
    /// An arm that matches a value and encodes its fields.
    encode: TokenStream,
    /// An expression that decodes `payload` into a `Result<Self, CodecError>`.
    decode: TokenStream,
}

fn cases(input: &DeriveInput, paths: &Paths) -> syn::Result<Vec<Case>> {
    match &input.data {
        Data::Enum(data) => collect(data.variants.iter().map(|variant| variant_case(input, variant, paths))),
        Data::Struct(_) => Ok(vec![struct_case(input)?]),
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

fn struct_case(input: &DeriveInput) -> syn::Result<Case> {
    let naming = Naming::read(&input.attrs, &input.ident, "struct")?;
    Ok(Case {
        matcher: quote!(_),
        encode: quote!(value => codec.encode(value)),
        decode: quote!(codec.decode::<Self>(payload)),
        naming,
    })
}

fn variant_case(input: &DeriveInput, variant: &Variant, paths: &Paths) -> syn::Result<Case> {
    let naming = Naming::read(&variant.attrs, &variant.ident, "variant")?;
    let ident = &variant.ident;
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
    Ok(Case { naming, matcher, encode, decode })
}

fn implementation(input: &DeriveInput, paths: &Paths, cases: &[Case]) -> TokenStream {
    let (ident, persistence) = (&input.ident, &paths.persistence);
    let types = cases.iter().map(|case| case.naming.event_type(paths));
    let encoders = cases.iter().map(|case| &case.encode);
    let (event_type, codec) = (event_type_body(paths, cases), codec_body(paths, cases));
    let decode = decode_body(paths, cases);
    quote! {
        #[automatically_derived]
        impl #persistence::Event for #ident {
            const TYPES: &'static [#persistence::EventType] = &[#(#types),*];

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
            ) -> ::core::result::Result<Self, #persistence::EventError> {
                #decode
            }
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

fn decode_body(paths: &Paths, cases: &[Case]) -> TokenStream {
    let persistence = &paths.persistence;
    let arms = cases.iter().map(|case| {
        let (name, version, decode) = (&case.naming.name, case.naming.version, &case.decode);
        quote!((#name, #version) => #decode)
    });
    quote! {
        let decoded = match (name, version) {
            #(#arms,)*
            _ => return ::core::result::Result::Err(<Self as #persistence::Event>::unknown(name, version)),
        };
        decoded.map_err(|source| #persistence::EventError::Codec {
            name: ::std::borrow::ToOwned::to_owned(name),
            version,
            source,
        })
    }
}
