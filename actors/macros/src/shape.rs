//! `#[derive(Shape)]`.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Attribute, Data, DataEnum, DeriveInput, Field, Fields, Generics, LitStr, parse_quote};

use crate::attributes::{compact, serde_entries};
use crate::paths::Paths;

/// What changes how a value is read but not what is written, so not the shape either.
const WITHOUT_EFFECT: [&str; 6] = ["default", "alias", "bound", "borrow", "crate", "deny_unknown_fields"];

pub(crate) fn expand(input: &DeriveInput) -> syn::Result<TokenStream> {
    let paths = Paths::of(input)?;
    let (kind, parts) = match &input.data {
        Data::Struct(data) => ("struct", fields(&data.fields, &paths)?),
        Data::Enum(data) => ("enum", variants(data, &paths)?),
        Data::Union(_) => return Err(syn::Error::new_spanned(&input.ident, "a union has no shape")),
    };
    let kind = format!("{kind}{}", serde_text(&input.attrs)?);
    Ok(implementation(input, &paths, &kind, &parts))
}

fn implementation(input: &DeriveInput, paths: &Paths, kind: &str, parts: &[TokenStream]) -> TokenStream {
    let (ident, persistence) = (&input.ident, &paths.persistence);
    let generics = bounded(input.generics.clone(), paths);
    let (impl_generics, type_generics, where_clause) = generics.split_for_impl();
    let name = ident.to_string();
    // A value without parts has no use for the writer it is given.
    let writer = if parts.is_empty() { quote!(_) } else { quote!(shape) };
    quote! {
        #[automatically_derived]
        impl #impl_generics #persistence::Shape for #ident #type_generics #where_clause {
            fn describe(shape: &mut #persistence::ShapeWriter) {
                shape.composite(
                    ::core::concat!(::core::module_path!(), "::", #name),
                    #kind,
                    |#writer| { #(#parts)* },
                );
            }
        }
    }
}

fn bounded(mut generics: Generics, paths: &Paths) -> Generics {
    let persistence = &paths.persistence;
    for parameter in generics.type_params_mut() {
        parameter.bounds.push(parse_quote!(#persistence::Shape));
    }
    generics
}

fn variants(data: &DataEnum, paths: &Paths) -> syn::Result<Vec<TokenStream>> {
    let describe = |variant: &syn::Variant| {
        let name = format!("{}{}", variant.ident, serde_text(&variant.attrs)?);
        let parts = fields(&variant.fields, paths)?;
        let leaf = matches!(variant.fields, Fields::Unit);
        Ok(if leaf || parts.is_empty() {
            quote!(shape.leaf(#name);)
        } else {
            quote!(shape.part(#name, |shape| { #(#parts)* shape.leaf("end"); });)
        })
    };
    data.variants.iter().map(describe).collect()
}

fn fields(fields: &Fields, paths: &Paths) -> syn::Result<Vec<TokenStream>> {
    let mut parts = Vec::new();
    for (index, field) in fields.iter().enumerate() {
        if !is_skipped(field)? {
            parts.push(part(index, field, paths)?);
        }
    }
    Ok(parts)
}

fn is_skipped(field: &Field) -> syn::Result<bool> {
    Ok(serde_entries(&field.attrs)?.iter().any(|meta| meta.path().is_ident("skip")))
}

fn part(index: usize, field: &Field, paths: &Paths) -> syn::Result<TokenStream> {
    let (ty, persistence) = (&field.ty, &paths.persistence);
    let name = field.ident.as_ref().map_or_else(|| index.to_string(), ToString::to_string);
    let name = format!("{name}{}", serde_text(&field.attrs)?);
    Ok(match leaf_text(field)? {
        Some(text) => quote!(shape.part(#name, |shape| shape.leaf(#text));),
        None => quote!(shape.part(#name, <#ty as #persistence::Shape>::describe);),
    })
}

fn leaf_text(field: &Field) -> syn::Result<Option<LitStr>> {
    let mut text = None;
    for attribute in field.attrs.iter().filter(|a| a.path().is_ident("shape")) {
        attribute.parse_nested_meta(|meta| {
            if !meta.path.is_ident("leaf") {
                return Err(meta.error("only `leaf = \"text\"` is known here"));
            }
            text = Some(meta.value()?.parse()?);
            Ok(())
        })?;
    }
    Ok(text)
}

/// The serde attributes that change what is written, as text: a renamed field is another shape.
fn serde_text(attributes: &[Attribute]) -> syn::Result<String> {
    let entries = serde_entries(attributes)?;
    let kept = entries.iter().filter(|meta| !WITHOUT_EFFECT.iter().any(|name| meta.path().is_ident(name)));
    let text = kept.map(compact).collect::<Vec<_>>().join(",");
    Ok(if text.is_empty() { text } else { format!("[{text}]") })
}
