//! The schemas of an event's types, as constants.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{DeriveInput, Fields, Variant};

use super::earlier::Earlier;
use super::{Case, Cases};
use crate::paths::Paths;
use crate::shape::{own_key, serde_text, structure};
use crate::wire::Rule;

/// The elements of `Event::SCHEMAS`.
pub(super) fn all(paths: &Paths, cases: &Cases) -> Vec<TokenStream> {
    let current = cases.current.iter().flat_map(|case| of_case(paths, case));
    let retired =
        cases.retired.iter().flat_map(|retired| old(paths, &retired.name.value(), &retired.earlier));
    current.chain(retired).collect()
}

/// A type as it is, under the names that it had before, and its earlier versions under all of them.
fn of_case(paths: &Paths, Case { naming, describe, .. }: &Case) -> Vec<TokenStream> {
    let (persistence, codec) = (&paths.persistence, naming.codec_path(paths));
    let written = quote!(#persistence::SchemaRole::Written(#codec));
    let mut schemas = vec![schema(paths, &naming.name, naming.version, &written, describe)];
    let former = naming.was.iter().map(|name| read(paths, &name.value(), naming.version, describe));
    schemas.extend(former);
    schemas.extend(naming.names().iter().flat_map(|name| old(paths, name, &naming.earlier)));
    schemas
}

/// Earlier versions under one name.
fn old(paths: &Paths, name: &str, earlier: &Earlier) -> Vec<TokenStream> {
    earlier.shapes(paths).iter().map(|(version, describe)| read(paths, name, *version, describe)).collect()
}

fn read(paths: &Paths, name: &str, version: u16, describe: &TokenStream) -> TokenStream {
    let persistence = &paths.persistence;
    schema(paths, name, version, &quote!(#persistence::SchemaRole::Read), describe)
}

fn schema(
    paths: &Paths,
    name: &str,
    version: u16,
    role: &TokenStream,
    describe: &TokenStream,
) -> TokenStream {
    let persistence = &paths.persistence;
    quote!(#persistence::EventSchema { name: #name, version: #version, role: #role, describe: #describe })
}

/// What writes a variant's payload down: the same as of a struct with its fields, so that an old version that becomes a
/// struct keeps its fingerprint.
pub(super) fn of_variant(input: &DeriveInput, variant: &Variant, paths: &Paths) -> syn::Result<TokenStream> {
    let own = Rule::of(&variant.attrs, "rename_all")?;
    let rule = own.or(Rule::of(&input.attrs, "rename_all_fields")?);
    let name = format!("{}::{}", input.ident, variant.ident);
    // A variant is no type of its own.
    let key = quote!(::core::concat!(::core::module_path!(), "::", #name));
    Ok(function(&structure(&key, "", &variant.fields, rule, paths)?, paths))
}

/// What writes the payload of an event that is a struct down.
pub(super) fn of_struct(input: &DeriveInput, fields: &Fields, paths: &Paths) -> syn::Result<TokenStream> {
    let rule = Rule::of(&input.attrs, "rename_all")?;
    let attributes = serde_text(&input.attrs)?;
    Ok(function(&structure(&own_key(), &attributes, fields, rule, paths)?, paths))
}

fn function(body: &TokenStream, paths: &Paths) -> TokenStream {
    let persistence = &paths.persistence;
    quote!(|shape: &mut #persistence::ShapeWriter| { #body })
}
