//! A variant's fields as a type of their own, so that serde writes and reads them without the enum.

use proc_macro2::{Ident, TokenStream};
use quote::{ToTokens, format_ident, quote};
use syn::{DeriveInput, Fields, Index, Meta, Variant};

use crate::attributes::{named, serde_entries};
use crate::paths::Paths;

/// Two private structs with a variant's fields: a borrowed one to encode, an owned one to decode.
pub(super) struct Proxy<'a> {
    variant: &'a Variant,
    serde: &'a TokenStream,
    container: TokenStream,
}

impl<'a> Proxy<'a> {
    pub(super) fn new(input: &DeriveInput, variant: &'a Variant, paths: &'a Paths) -> syn::Result<Self> {
        let serde_crate = Paths::text(&paths.serde);
        let renaming = renaming(input, variant)?.map(|value| quote!(, rename_all #value));
        let container = quote!(#[serde(crate = #serde_crate #renaming)]);
        Ok(Self { variant, serde: &paths.serde, container })
    }

    /// The arm that matches the variant and encodes its fields.
    pub(super) fn encode(&self) -> TokenStream {
        let (ident, serde, container) = (&self.variant.ident, self.serde, &self.container);
        let (lifetime, body) = self.body(&quote!(&'fields));
        let (members, bindings) = (self.members(), self.bindings());
        quote! {
            Self::#ident { #(#members: #bindings),* } => {
                #[derive(#serde::Serialize)]
                #container
                struct __AnnalsFields #lifetime #body
                codec.encode(&__AnnalsFields { #(#members: #bindings),* })
            }
        }
    }

    /// The expression that decodes the payload into the variant.
    pub(super) fn decode(&self) -> TokenStream {
        let (ident, serde, container) = (&self.variant.ident, self.serde, &self.container);
        let (_, body) = self.body(&TokenStream::new());
        let members = self.members();
        quote! {
            {
                #[derive(#serde::Deserialize)]
                #container
                struct __AnnalsFields #body
                codec.decode::<__AnnalsFields>(payload)
                    .map(|fields| Self::#ident { #(#members: fields.#members),* })
            }
        }
    }

    /// The struct's generics and body, each field's type behind `reference`.
    fn body(&self, reference: &TokenStream) -> (TokenStream, TokenStream) {
        let fields = self.variant.fields.iter().map(|field| {
            let (kept, ty) = (named(&field.attrs, &["serde", "cfg"]), &field.ty);
            let name = field.ident.as_ref().map(|ident| quote!(#ident:));
            quote!(#(#kept)* #name #reference #ty)
        });
        let lifetime = if self.variant.fields.is_empty() { quote!() } else { quote!(<'fields>) };
        let body = match self.variant.fields {
            Fields::Named(_) => quote!({ #(#fields),* }),
            Fields::Unnamed(_) | Fields::Unit => quote!((#(#fields),*);),
        };
        (lifetime, body)
    }

    /// The fields as they are named in a literal or a pattern: by name or by number.
    fn members(&self) -> Vec<TokenStream> {
        let member = |(index, field): (usize, &syn::Field)| match &field.ident {
            Some(ident) => ident.to_token_stream(),
            None => Index::from(index).to_token_stream(),
        };
        self.variant.fields.iter().enumerate().map(member).collect()
    }

    /// A variable for each field, of a name that nothing else has.
    fn bindings(&self) -> Vec<Ident> {
        (0..self.variant.fields.len()).map(|index| format_ident!("field_{index}")).collect()
    }
}

/// How the fields' names change: the variant's `rename_all`, else the enum's `rename_all_fields`.
fn renaming(input: &DeriveInput, variant: &Variant) -> syn::Result<Option<TokenStream>> {
    let own = find(&serde_entries(&variant.attrs)?, "rename_all");
    Ok(own.or(find(&serde_entries(&input.attrs)?, "rename_all_fields")))
}

/// What follows the key: `= "camelCase"`, or `(serialize = "...", deserialize = "...")`.
fn find(entries: &[Meta], key: &str) -> Option<TokenStream> {
    entries.iter().find(|meta| meta.path().is_ident(key)).map(|meta| match meta {
        Meta::NameValue(pair) => {
            let value = &pair.value;
            quote!(= #value)
        }
        Meta::List(list) => {
            let tokens = &list.tokens;
            quote!((#tokens))
        }
        Meta::Path(_) => TokenStream::new(),
    })
}
