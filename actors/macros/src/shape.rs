//! `#[derive(Shape)]`.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{
    Attribute, Data, DataEnum, DeriveInput, Expr, ExprLit, Field, Fields, Generics, Lit, LitStr, Meta, Type,
    parse_quote,
};

use crate::attributes::{compact, serde_entries};
use crate::paths::Paths;
use crate::wire::{self, Kind, Rule};

/// What changes how a value is read but not what is written, so not the shape either.
const WITHOUT_EFFECT: [&str; 6] = ["default", "alias", "bound", "borrow", "crate", "deny_unknown_fields"];

/// What bincode cannot read back, or reads back as something else.
pub(crate) const SELF_DESCRIBING: [&str; 7] = [
    "flatten",
    "untagged",
    "tag",
    "content",
    "skip_serializing_if",
    "skip_serializing",
    "skip_deserializing",
];

pub(crate) fn expand(input: &DeriveInput) -> syn::Result<TokenStream> {
    let paths = Paths::of(input)?;
    if let Some(written) = written_as(&input.attrs)? {
        let (key, persistence) = (own_key(), &paths.persistence);
        let body = quote!(shape.transparent(#key, <#written as #persistence::Shape>::describe););
        return Ok(implementation(input, &paths, &body));
    }
    let body = own_body(input, &paths)?;
    let notes = notes(&input.attrs)?;
    Ok(implementation(input, &paths, &quote!(#notes #body)))
}

/// Statements that write down what the type itself has.
fn own_body(input: &DeriveInput, paths: &Paths) -> syn::Result<TokenStream> {
    let key = own_key();
    let attributes = serde_text(&input.attrs)?;
    Ok(match &input.data {
        Data::Struct(data) => {
            let rule = Rule::of(&input.attrs, "rename_all")?;
            structure(&key, &attributes, &data.fields, rule, paths)?
        }
        Data::Enum(data) => composite(&key, &format!("enum{attributes}"), &variants(input, data, paths)?),
        Data::Union(_) => return Err(syn::Error::new_spanned(&input.ident, "a union has no shape")),
    })
}

/// The type in whose place serde writes this one: `#[serde(into = "Raw")]`.
fn written_as(attributes: &[Attribute]) -> syn::Result<Option<Type>> {
    for entry in serde_entries(attributes)? {
        if entry.path().is_ident("remote") {
            let problem = "the shape of a `remote` type is that of another one: say it where it is used, with \
                           `#[shape(leaf = \"text\")]`";
            return Err(syn::Error::new_spanned(entry, problem));
        }
        if entry.path().is_ident("into") {
            let Expr::Lit(ExprLit { lit: Lit::Str(name), .. }) = &entry.require_name_value()?.value else {
                return Err(syn::Error::new_spanned(entry, "`into` names a type in a string"));
            };
            return name.parse().map(Some);
        }
    }
    Ok(None)
}

fn implementation(input: &DeriveInput, paths: &Paths, body: &TokenStream) -> TokenStream {
    let (ident, persistence) = (&input.ident, &paths.persistence);
    let generics = bounded(input.generics.clone(), paths);
    let (impl_generics, type_generics, where_clause) = generics.split_for_impl();
    quote! {
        #[automatically_derived]
        impl #impl_generics #persistence::Shape for #ident #type_generics #where_clause {
            fn describe(shape: &mut #persistence::ShapeWriter) {
                #body
            }
        }
    }
}

/// What tells the type that is derived for from all others, with other parameters too.
pub(crate) fn own_key() -> TokenStream {
    quote!(::core::any::type_name::<Self>())
}

/// Statements that write a struct down: as its one field where serde writes no more than that, too.
pub(crate) fn structure(
    key: &TokenStream,
    attributes: &str,
    all: &Fields,
    rule: Option<Rule>,
    paths: &Paths,
) -> syn::Result<TokenStream> {
    match all {
        Fields::Unit => Ok(quote!(shape.leaf("unit");)),
        Fields::Unnamed(unnamed)
            if unnamed.unnamed.len() == 1 && matches!(attributes, "" | "[transparent]") =>
        {
            inner(key, &unnamed.unnamed[0], paths)
        }
        _ => Ok(composite(key, &format!("struct{attributes}"), &fields(all, rule, paths)?)),
    }
}

fn inner(key: &TokenStream, field: &Field, paths: &Paths) -> syn::Result<TokenStream> {
    if is_skipped(field)? || !serde_text(&field.attrs)?.is_empty() {
        return Ok(composite(key, "struct", &fields([field], None, paths)?));
    }
    let describe = describe(field, paths)?;
    Ok(quote!(shape.transparent(#key, #describe);))
}

fn composite(key: &TokenStream, kind: &str, parts: &[TokenStream]) -> TokenStream {
    // A value without parts has no use for the writer it is given.
    let writer = if parts.is_empty() { quote!(_) } else { quote!(shape) };
    quote! {
        shape.composite(
            #key,
            #kind,
            |#writer| { #(#parts)* },
        );
    }
}

fn bounded(mut generics: Generics, paths: &Paths) -> Generics {
    let persistence = &paths.persistence;
    for parameter in generics.type_params_mut() {
        parameter.bounds.push(parse_quote!(#persistence::Shape));
    }
    generics
}

fn variants(input: &DeriveInput, data: &DataEnum, paths: &Paths) -> syn::Result<Vec<TokenStream>> {
    let rule = Rule::of(&input.attrs, "rename_all")?;
    let of_fields = Rule::of(&input.attrs, "rename_all_fields")?;
    let describe = |variant: &syn::Variant| {
        let name = wire::name(&variant.ident, &variant.attrs, rule, Kind::Variant)?;
        let name = format!("{name}{}", serde_text(&variant.attrs)?);
        let own = Rule::of(&variant.attrs, "rename_all")?;
        let (parts, notes) = (fields(&variant.fields, own.or(of_fields), paths)?, notes(&variant.attrs)?);
        let leaf = matches!(variant.fields, Fields::Unit);
        Ok(if leaf || parts.is_empty() {
            quote!(#notes shape.leaf(#name);)
        } else {
            quote!(#notes shape.part(#name, |shape| { #(#parts)* shape.leaf("end"); });)
        })
    };
    data.variants.iter().map(describe).collect()
}

fn fields<'a>(
    fields: impl IntoIterator<Item = &'a Field>,
    rule: Option<Rule>,
    paths: &Paths,
) -> syn::Result<Vec<TokenStream>> {
    let mut parts = Vec::new();
    for (index, field) in fields.into_iter().enumerate() {
        if !is_skipped(field)? {
            parts.push(part(index, field, rule, paths)?);
        }
    }
    Ok(parts)
}

fn is_skipped(field: &Field) -> syn::Result<bool> {
    Ok(serde_entries(&field.attrs)?.iter().any(|meta| meta.path().is_ident("skip")))
}

fn part(index: usize, field: &Field, rule: Option<Rule>, paths: &Paths) -> syn::Result<TokenStream> {
    let name = match &field.ident {
        Some(ident) => wire::name(ident, &field.attrs, rule, Kind::Field)?,
        None => index.to_string(),
    };
    let name = format!("{name}{}", serde_text(&field.attrs)?);
    let (describe, notes) = (describe(field, paths)?, notes(&field.attrs)?);
    Ok(quote!(#notes shape.part(#name, #describe);))
}

/// What writes a field's type down.
fn describe(field: &Field, paths: &Paths) -> syn::Result<TokenStream> {
    let (ty, persistence) = (&field.ty, &paths.persistence);
    Ok(match leaf_text(field)? {
        Some(text) => quote!(|shape: &mut #persistence::ShapeWriter| shape.leaf(#text)),
        None => quote!(<#ty as #persistence::Shape>::describe),
    })
}

/// Statements that note which serde attributes bincode cannot have.
fn notes(attributes: &[Attribute]) -> syn::Result<TokenStream> {
    let entries = serde_entries(attributes)?;
    let names = SELF_DESCRIBING.iter().filter(|name| entries.iter().any(|meta| meta.path().is_ident(name)));
    Ok(names.map(|name| quote!(shape.needs_self_describing(#name);)).collect())
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

/// The serde attributes that change what is written, but for names, which are written down as they are.
pub(crate) fn serde_text(attributes: &[Attribute]) -> syn::Result<String> {
    let entries = serde_entries(attributes)?;
    let without_effect = |meta: &Meta| WITHOUT_EFFECT.iter().any(|name| meta.path().is_ident(name));
    let kept = entries.iter().filter(|meta| !without_effect(meta) && !wire::is_spent(meta));
    let text = kept.map(compact).collect::<Vec<_>>().join(",");
    Ok(if text.is_empty() { text } else { format!("[{text}]") })
}
