//! What an event in bincode cannot have: serde attributes that leave something out of the bytes, or need to look ahead.

use syn::{Attribute, Fields};

use crate::attributes::serde_entries;
use crate::shape::SELF_DESCRIBING;

/// Refuses what can be seen from here: the attributes of the event and of its fields.
pub(super) fn check(attributes: &[Attribute], fields: &Fields) -> syn::Result<()> {
    refuse(attributes)?;
    fields.iter().try_for_each(|field| refuse(&field.attrs))
}

fn refuse(attributes: &[Attribute]) -> syn::Result<()> {
    for meta in serde_entries(attributes)? {
        let name = SELF_DESCRIBING.iter().copied().chain(["default"]).find(|name| meta.path().is_ident(name));
        if let Some(name) = name {
            let reason = format!(
                "bincode cannot have `serde({name})`: its bytes do not say which fields are there. Leave it out, or \
                 leave the event in JSON"
            );
            return Err(syn::Error::new_spanned(meta, reason));
        }
    }
    Ok(())
}
