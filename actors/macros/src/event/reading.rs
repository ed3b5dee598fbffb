//! From recorded bytes back to events, whatever version they are.

use proc_macro2::TokenStream;
use quote::quote;

use super::Cases;
use crate::paths::Paths;

/// The body of `Event::decode`.
pub(super) fn decode(paths: &Paths, cases: &Cases) -> TokenStream {
    let persistence = &paths.persistence;
    let mut arms = Vec::new();
    for case in &cases.current {
        let (names, version, decode) = (names(&case.naming.names()), case.naming.version, &case.decode);
        arms.push(quote! {
            (#names, #version) => #decode.map(<Self as #persistence::IntoEvents<Self>>::into_events)
        });
        arms.extend(case.naming.earlier.decoders(&names, paths));
    }
    for retired in &cases.retired {
        arms.extend(retired.earlier.decoders(&names(&[retired.name.value()]), paths));
    }
    let error = codec_error(paths);
    quote! {
        let decoded = match (name, version) {
            #(#arms,)*
            _ => return ::core::result::Result::Err(<Self as #persistence::Event>::unknown(name, version)),
        };
        decoded.map_err(#error)
    }
}

/// `Event::transcode`, where there is more to it than the types as they are.
pub(super) fn transcode(paths: &Paths, cases: &Cases) -> TokenStream {
    let persistence = &paths.persistence;
    let current = cases.current.iter().map(|case| (case.naming.names(), &case.naming.earlier));
    let retired = cases.retired.iter().map(|retired| (vec![retired.name.value()], &retired.earlier));
    let arms: Vec<_> = current.chain(retired).flat_map(|(all, old)| old.transcoders(&names(&all))).collect();
    if arms.is_empty() {
        return TokenStream::new();
    }
    let error = codec_error(paths);
    quote! {
        fn transcode(
            name: &str,
            version: u16,
            from: #persistence::CodecId,
            payload: &[u8],
            to: #persistence::CodecId,
        ) -> ::core::result::Result<::std::vec::Vec<u8>, #persistence::EventError> {
            let written = match (name, version) {
                #(#arms,)*
                _ => return #persistence::transcode_current::<Self>(name, version, from, payload, to),
            };
            written.map_err(#error)
        }
    }
}

/// The names as a pattern.
fn names(names: &[String]) -> TokenStream {
    quote!(#(#names)|*)
}

fn codec_error(paths: &Paths) -> TokenStream {
    let persistence = &paths.persistence;
    quote! {
        |source| #persistence::EventError::Codec {
            name: ::std::borrow::ToOwned::to_owned(name),
            version,
            source,
        }
    }
}
