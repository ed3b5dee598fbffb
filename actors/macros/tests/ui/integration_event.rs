use annals_macros::IntegrationEvent;

#[derive(IntegrationEvent)]
#[integration_event(topic = "with space")]
struct BadTopic;

#[derive(IntegrationEvent)]
#[integration_event(colour = "red")]
struct BadOption;

#[derive(IntegrationEvent)]
struct Generic<T>(T);

fn main() {}
