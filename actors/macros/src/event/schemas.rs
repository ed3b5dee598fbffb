//! The schemas of an event's types, as constants.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{DeriveInput, Fields, Variant};

use super::{Case, Cases};
use crate::paths::Paths;
use crate::shape::{serde_text, structure};
use crate::wire::Rule;

/// The elements of `Event::SCHEMAS`.
pub(super) fn all(paths: &Paths, cases: &Cases) -> Vec<TokenStream> {
    let persistence = &paths.persistence;
    let read = quote!(#persistence::SchemaRole::Read);
    let mut schemas = Vec::new();
    for case in &cases.current {
        let written = case.naming.codec_path(paths);
        schemas.push(schema(
            paths,
            &case.naming.name,
            case.naming.version,
            &quote!(#persistence::SchemaRole::Written(#written)),
            &case.describe,
        ));
        schemas.extend(former(paths, case, &read));
        for name in case.naming.names() {
            for (version, describe) in case.naming.earlier.shapes(paths) {
                schemas.push(schema(paths, &name, version, &read, &describe));
            }
        }
    }
    for retired in &cases.retired {
        for (version, describe) in retired.earlier.shapes(paths) {
            schemas.push(schema(paths, &retired.name.value(), version, &read, &describe));
        }
    }
    schemas
}

/// The current version under the names that the type had before.
fn former(paths: &Paths, case: &Case, read: &TokenStream) -> Vec<TokenStream> {
    let names = case.naming.was.iter();
    names.map(|name| schema(paths, &name.value(), case.naming.version, read, &case.describe)).collect()
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
    Ok(function(&structure(&name, "", &variant.fields, rule, paths)?, paths))
}

/// What writes the payload of an event that is a struct down.
pub(super) fn of_struct(input: &DeriveInput, fields: &Fields, paths: &Paths) -> syn::Result<TokenStream> {
    let rule = Rule::of(&input.attrs, "rename_all")?;
    let attributes = serde_text(&input.attrs)?;
    Ok(function(&structure(&input.ident.to_string(), &attributes, fields, rule, paths)?, paths))
}

fn function(body: &TokenStream, paths: &Paths) -> TokenStream {
    let persistence = &paths.persistence;
    quote!(|shape: &mut #persistence::ShapeWriter| { #body })
}
