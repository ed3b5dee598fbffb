//! Postal addresses.

use annals::http::fields::text;
use annals::http::{Fields, FromFields};
use annals::prelude::Shape;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Where to send things.
#[derive(
    Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, Shape, ToSchema, schemars::JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub struct Address {
    /// Street and number.
    #[schema(min_length = 1, max_length = 200)]
    pub street: String,
    /// City.
    #[schema(min_length = 1, max_length = 200)]
    pub city: String,
    /// State or province.
    #[schema(min_length = 1, max_length = 200)]
    pub state: String,
    /// Country.
    #[schema(min_length = 1, max_length = 200)]
    pub country: String,
    /// Postal code.
    #[schema(min_length = 1, max_length = 200)]
    pub postal_code: String,
}

impl FromFields for Address {
    fn from_fields(fields: &mut Fields<'_, '_>) -> Option<Self> {
        let street = fields.required("street", text());
        let city = fields.required("city", text());
        let state = fields.required("state", text());
        let country = fields.required("country", text());
        let postal_code = fields.required("postalCode", text());
        Some(Self {
            street: street?,
            city: city?,
            state: state?,
            country: country?,
            postal_code: postal_code?,
        })
    }
}
