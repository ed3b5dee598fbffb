//! Where generated code finds what it needs: in the facade for users, in the crate itself inside the workspace.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{DeriveInput, LitStr, Path};

/// The paths that generated code names.
pub(crate) struct Paths {
    /// `annals-persistence`.
    pub(crate) persistence: TokenStream,
    /// `serde`.
    pub(crate) serde: TokenStream,
    /// The hidden module that has everything else.
    pub(crate) private: TokenStream,
}

impl Paths {
    /// The paths for a type: those below what its `#[annals(crate = "...")]` names, else the compiled crate's.
    pub(crate) fn of(input: &DeriveInput) -> syn::Result<Self> {
        match explicit_root(input)? {
            Some(root) => Ok(Self::below(&quote!(#root))),
            None => Ok(Self::of_package(&std::env::var("CARGO_PKG_NAME").unwrap_or_default())),
        }
    }

    fn of_package(package: &str) -> Self {
        // trybuild compiles its cases in a package of its own, called after the one under test.
        match package.strip_suffix("-tests").unwrap_or(package) {
            // These two have no hidden module: one knows no derives, the other exports nothing else.
            "annals-persistence" | "annals-macros" => Self {
                persistence: quote!(::annals_persistence),
                serde: quote!(::serde),
                private: quote!(::annals_persistence),
            },
            "annals-actors" => Self::below(&quote!(::annals_actors)),
            "annals-bus" | "annals-streams" | "annals-cluster" | "annals-services" => {
                Self::below(&quote!(::annals_bus))
            }
            _ => Self::below(&quote!(::annals)),
        }
    }

    fn below(root: &TokenStream) -> Self {
        Self {
            persistence: quote!(#root::__private::persistence),
            serde: quote!(#root::__private::serde),
            private: quote!(#root::__private),
        }
    }

    /// A path as serde's and schemars' `crate` attributes want it.
    pub(crate) fn text(path: &TokenStream) -> String {
        path.to_string().replace(' ', "")
    }
}

fn explicit_root(input: &DeriveInput) -> syn::Result<Option<Path>> {
    let mut root = None;
    for attribute in input.attrs.iter().filter(|a| a.path().is_ident("annals")) {
        attribute.parse_nested_meta(|meta| {
            if !meta.path.is_ident("crate") {
                return Err(meta.error("only `crate = \"path\"` is known here"));
            }
            root = Some(meta.value()?.parse::<LitStr>()?.parse::<Path>()?);
            Ok(())
        })?;
    }
    Ok(root)
}
