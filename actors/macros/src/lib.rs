//! The derives of Annals: [`macro@Event`], [`macro@Shape`] and [`macro@IntegrationEvent`].
//!
//! Use them through the crate that re-exports them (`annals`, `annals_actors`, `annals_bus`): the code they
//! generate names that crate. `#[annals(crate = "path")]` on the type names another one.

mod attributes;
mod event;
mod integration;
mod paths;
mod shape;
mod wire;

use proc_macro::TokenStream;
use syn::{DeriveInput, parse_macro_input};

/// Gives every variant of an enum its stable name and schema version in the journal.
///
/// Each variant says `#[event("name")]`, or `#[event("name", version = 2, codec = bincode)]`. The payload is the
/// variant's fields: a JSON object for named fields, the inner value for one unnamed field, an array for several,
/// `null` for none. `#[serde(...)]` attributes of fields hold; the enum itself need not derive serde.
/// On a struct, the payload is what the struct's own serde implementation writes.
///
/// What was recorded before is read for good: `upcast(1 = DepositedV1, 2 = DepositedV2)` names the structs of the earlier
/// versions, each of which implements `Upcast` to the next and derives serde and `Shape`; `was = "old-name"` is a name
/// that the type had before; and on the enum, `#[event(retired("order-placed", 1 = OrderPlacedV1))]` is a type that is
/// written no more. `docs/evolution.md` shows all of them at work.
///
/// Every type in an event has a [`macro@Shape`], so that a change of one cannot go unnoticed; `#[shape(leaf = "text")]`
/// on a field is as there.
#[proc_macro_derive(Event, attributes(event, serde, shape, annals))]
pub fn derive_event(input: TokenStream) -> TokenStream {
    run(&parse_macro_input!(input as DeriveInput), event::expand)
}

/// Writes down the shape of a type, so that a change of it is noticed before stored bytes are misread.
///
/// Fields with `#[serde(skip)]` are left out. `#[shape(leaf = "text")]` on a field describes it by this text instead
/// of by its type: for a type of another crate, with a text that changes when its representation does.
#[proc_macro_derive(Shape, attributes(shape, serde, annals))]
pub fn derive_shape(input: TokenStream) -> TokenStream {
    run(&parse_macro_input!(input as DeriveInput), shape::expand)
}

/// Makes a type an integration event: what a service publishes for others.
///
/// `#[integration_event(name = "CustomerAddressUpdated", version = 1)]`; without a name it is the type's in
/// kebab case, without a version 1. `topic`, `prefix` and `suffix` say where it is published,
/// `[prefix.]topic[.suffix]`; without any of them that is `v<version>.<name>`.
#[proc_macro_derive(IntegrationEvent, attributes(integration_event, serde, schemars, annals))]
pub fn derive_integration_event(input: TokenStream) -> TokenStream {
    run(&parse_macro_input!(input as DeriveInput), integration::expand)
}

fn run(
    input: &DeriveInput,
    expand: fn(&DeriveInput) -> syn::Result<proc_macro2::TokenStream>,
) -> TokenStream {
    expand(input).unwrap_or_else(syn::Error::into_compile_error).into()
}
