//! What `#[derive(IntegrationEvent)]` makes of a type.

use annals_bus::{IntegrationEvent, Topic};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, IntegrationEvent)]
#[serde(rename_all = "camelCase")]
struct OrderShipped {
    /// The order.
    order_id: String,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    note: Option<String>,
    lines: Vec<u32>,
}

#[derive(Serialize, Deserialize, IntegrationEvent)]
#[integration_event(version = 3, topic = "WeatherForecast", prefix = "v3", suffix = "eu")]
enum Weather {
    Sun { hours: u8 },
    Rain(f64),
}

#[test]
fn the_name_comes_from_the_type_unless_given() {
    assert_eq!((OrderShipped::NAME, OrderShipped::VERSION), ("order-shipped", 1));
    assert_eq!(OrderShipped::type_name(), "order-shipped.v1");
    assert_eq!(Topic::of::<OrderShipped>().as_str(), "v1.order-shipped");
    assert_eq!(Topic::of::<Weather>().as_str(), "v3.WeatherForecast.eu");
    assert_eq!(Weather::type_name(), "weather.v3");
}

#[test]
fn the_schema_follows_serde() {
    let schema = OrderShipped::schema();
    let text = schema.as_value().to_string();
    assert!(schema.pointer("/properties/orderId/description").is_some(), "{text}");
    let required = schema.pointer("/required").map(ToString::to_string);
    assert_eq!(required.as_deref(), Some(r#"["orderId","lines"]"#), "{text}");
    assert!(Weather::schema().pointer("/oneOf").is_some());
    let _ = [Weather::Sun { hours: 1 }, Weather::Rain(2.0)];
}
