//! `#[derive(IntegrationEvent)]`.

use proc_macro2::TokenStream;
use quote::quote;
use syn::meta::ParseNestedMeta;
use syn::{Attribute, Data, DeriveInput, LitStr};

use crate::attributes::{kebab_case, named};
use crate::event::parse_version;
use crate::paths::Paths;

/// What the attribute says.
#[derive(Default)]
struct Options {
    name: Option<String>,
    version: Option<u16>,
    topic: Option<String>,
    prefix: Option<String>,
    suffix: Option<String>,
}

pub(crate) fn expand(input: &DeriveInput) -> syn::Result<TokenStream> {
    refuse_others(input)?;
    let paths = Paths::of(input)?;
    let options = Options::read(&input.attrs)?;
    let (ident, private) = (&input.ident, &paths.private);
    let name = options.name.clone().unwrap_or_else(|| kebab_case(ident));
    let version = options.version.unwrap_or(1);
    let (topic, schema) = (options.topic_tokens(&paths), schema(input, &paths));
    Ok(quote! {
        #[automatically_derived]
        impl #private::bus::IntegrationEvent for #ident {
            const NAME: &'static str = #name;
            const VERSION: u16 = #version;
            const TOPIC: #private::bus::TopicParts<'static> = #topic;

            fn schema() -> #private::schemars::Schema {
                #schema
            }
        }
    })
}

fn refuse_others(input: &DeriveInput) -> syn::Result<()> {
    if !input.generics.params.is_empty() {
        return Err(syn::Error::new_spanned(
            &input.generics,
            "an integration event cannot be generic: its topic stands for one schema",
        ));
    }
    if matches!(input.data, Data::Union(_)) {
        return Err(syn::Error::new_spanned(&input.ident, "an integration event is a struct or an enum"));
    }
    Ok(())
}

impl Options {
    fn read(attributes: &[Attribute]) -> syn::Result<Self> {
        let mut options = Self::default();
        for attribute in attributes.iter().filter(|a| a.path().is_ident("integration_event")) {
            attribute.parse_nested_meta(|meta| options.take(&meta))?;
        }
        Ok(options)
    }

    fn take(&mut self, meta: &ParseNestedMeta<'_>) -> syn::Result<()> {
        if meta.path.is_ident("version") {
            self.version = Some(parse_version(meta.value()?)?);
            return Ok(());
        }
        let slot = match meta.path.get_ident().map(ToString::to_string).as_deref() {
            Some("name") => &mut self.name,
            Some("topic") => &mut self.topic,
            Some("prefix") => &mut self.prefix,
            Some("suffix") => &mut self.suffix,
            _ => return Err(meta.error("known here are `name`, `version`, `topic`, `prefix` and `suffix`")),
        };
        *slot = Some(topic_part(&meta.value()?.parse()?)?);
        Ok(())
    }

    fn topic_tokens(&self, paths: &Paths) -> TokenStream {
        let private = &paths.private;
        let part = |part: &Option<String>| match part {
            Some(text) => quote!(::core::option::Option::Some(#text)),
            None => quote!(::core::option::Option::None),
        };
        let (topic, prefix, suffix) = (part(&self.topic), part(&self.prefix), part(&self.suffix));
        quote!(#private::bus::TopicParts { topic: #topic, prefix: #prefix, suffix: #suffix })
    }
}

fn topic_part(text: &LitStr) -> syn::Result<String> {
    let value = text.value();
    if value.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c)) {
        return Ok(value);
    }
    Err(syn::Error::new_spanned(
        text,
        "a topic has ASCII letters, digits, '-', '.' and '_' only: what every broker takes",
    ))
}

/// The schema comes from a copy of the type, so that the type itself need not derive `JsonSchema`.
fn schema(input: &DeriveInput, paths: &Paths) -> TokenStream {
    let private = &paths.private;
    let mut copy = input.clone();
    copy.vis = syn::Visibility::Inherited;
    retain(&mut copy.attrs);
    match &mut copy.data {
        Data::Struct(data) => data.fields.iter_mut().for_each(|field| retain(&mut field.attrs)),
        Data::Enum(data) => data.variants.iter_mut().for_each(|variant| {
            retain(&mut variant.attrs);
            variant.fields.iter_mut().for_each(|field| retain(&mut field.attrs));
        }),
        Data::Union(_) => {}
    }
    let (ident, crate_path) = (&input.ident, Paths::text(&quote!(#private::schemars)));
    quote! {
        #[derive(#private::schemars::JsonSchema)]
        #[schemars(crate = #crate_path)]
        #[allow(dead_code)]
        #copy
        #private::schemars::schema_for!(#ident)
    }
}

fn retain(attributes: &mut Vec<Attribute>) {
    *attributes = named(attributes, &["serde", "schemars", "doc", "cfg"]).cloned().collect();
}
