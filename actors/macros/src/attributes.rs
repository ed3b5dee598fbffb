//! Reading other derives' attributes, and making names.

use proc_macro2::{Ident, TokenStream};
use quote::ToTokens;
use syn::punctuated::Punctuated;
use syn::{Attribute, Meta, Token};

/// The entries of all `#[serde(...)]` attributes.
pub(crate) fn serde_entries(attributes: &[Attribute]) -> syn::Result<Vec<Meta>> {
    let mut entries = Vec::new();
    for attribute in attributes.iter().filter(|a| a.path().is_ident("serde")) {
        entries.extend(attribute.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated)?);
    }
    Ok(entries)
}

/// The attributes with one of these names, as they stand.
pub(crate) fn named<'a>(
    attributes: &'a [Attribute],
    names: &'a [&str],
) -> impl Iterator<Item = &'a Attribute> {
    attributes.iter().filter(move |a| names.iter().any(|name| a.path().is_ident(name)))
}

/// `OrderShipped` as `order-shipped`.
pub(crate) fn kebab_case(ident: &Ident) -> String {
    let mut kebab = String::new();
    let text = ident.to_string();
    let mut previous_lower = false;
    for letter in text.trim_start_matches("r#").chars() {
        if letter.is_uppercase() && previous_lower {
            kebab.push('-');
        }
        previous_lower = !letter.is_uppercase();
        kebab.push(if letter == '_' { '-' } else { letter.to_ascii_lowercase() });
    }
    kebab
}

/// Tokens as text without needless spaces.
pub(crate) fn compact(tokens: &impl ToTokens) -> String {
    let tokens: TokenStream = tokens.to_token_stream();
    tokens.to_string().replace(' ', "")
}
