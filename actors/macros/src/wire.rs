//! What serde calls fields and variants, as far as its attributes say so in one word: two spellings of one name are one
//! shape.

use proc_macro2::Ident;
use syn::{Attribute, Expr, ExprLit, Lit, Meta};

use crate::attributes::serde_entries;

/// A rule of serde's `rename_all`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    Lower,
    Upper,
    Pascal,
    Camel,
    Snake,
    ScreamingSnake,
    Kebab,
    ScreamingKebab,
}

impl Rule {
    /// The rule under this key of the serde attributes; `None` also where it is another one for each direction.
    pub(crate) fn of(attributes: &[Attribute], key: &str) -> syn::Result<Option<Self>> {
        let entries = serde_entries(attributes)?;
        Ok(entries
            .iter()
            .find(|meta| meta.path().is_ident(key))
            .and_then(text)
            .and_then(|text| Self::named(&text)))
    }

    fn named(text: &str) -> Option<Self> {
        Some(match text {
            "lowercase" => Self::Lower,
            "UPPERCASE" => Self::Upper,
            "PascalCase" => Self::Pascal,
            "camelCase" => Self::Camel,
            "snake_case" => Self::Snake,
            "SCREAMING_SNAKE_CASE" => Self::ScreamingSnake,
            "kebab-case" => Self::Kebab,
            "SCREAMING-KEBAB-CASE" => Self::ScreamingKebab,
            _ => return None,
        })
    }

    /// A field's name, which is written `in_snake_case`.
    pub(crate) fn field(self, name: &str) -> String {
        match self {
            Self::Lower | Self::Snake => name.to_owned(),
            Self::Upper | Self::ScreamingSnake => name.to_ascii_uppercase(),
            Self::Pascal => name.split('_').map(capital).collect(),
            Self::Camel => small(&Self::Pascal.field(name)),
            Self::Kebab => name.replace('_', "-"),
            Self::ScreamingKebab => name.replace('_', "-").to_ascii_uppercase(),
        }
    }

    /// A variant's name, which is written `InPascalCase`.
    pub(crate) fn variant(self, name: &str) -> String {
        match self {
            Self::Pascal => name.to_owned(),
            Self::Lower => name.to_ascii_lowercase(),
            Self::Upper => name.to_ascii_uppercase(),
            Self::Camel => small(name),
            Self::Snake => snake(name),
            Self::ScreamingSnake | Self::Kebab | Self::ScreamingKebab => self.field(&snake(name)),
        }
    }
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect()
}

fn small(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_ascii_lowercase()).into_iter().chain(letters).collect()
}

fn snake(name: &str) -> String {
    let mut snake = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.push(letter.to_ascii_lowercase());
    }
    snake
}

/// Which kind of name a rule is for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    Field,
    Variant,
}

/// What serde writes for this identifier: its own `rename`, else what the rule around it makes of it.
pub(crate) fn name(
    ident: &Ident,
    attributes: &[Attribute],
    rule: Option<Rule>,
    kind: Kind,
) -> syn::Result<String> {
    let entries = serde_entries(attributes)?;
    if let Some(text) = entries.iter().find(|meta| meta.path().is_ident("rename")).and_then(text) {
        return Ok(text);
    }
    let plain = ident.to_string();
    let plain = plain.trim_start_matches("r#");
    Ok(match (rule, kind) {
        (None, _) => plain.to_owned(),
        (Some(rule), Kind::Field) => rule.field(plain),
        (Some(rule), Kind::Variant) => rule.variant(plain),
    })
}

/// Whether this attribute is spent when names are written as [`name`] gives them.
pub(crate) fn is_spent(meta: &Meta) -> bool {
    ["rename", "rename_all", "rename_all_fields"].iter().any(|key| meta.path().is_ident(key))
        && text(meta).is_some()
}

/// What follows `=`, where it is a text.
fn text(meta: &Meta) -> Option<String> {
    let Meta::NameValue(pair) = meta else { return None };
    match &pair.value {
        Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => Some(text.value()),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
