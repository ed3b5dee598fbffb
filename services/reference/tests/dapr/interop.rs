//! Beside an application in another language that knows Dapr's HTTP API alone.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

use annals_parts::{App, Broker, Nats, Redis, Resources, Sidecar, SidecarOptions, free_port, wait_for_port};
use serde_json::{Value, json};

use crate::bodies::{CUSTOMER, ORDER, address, created_customer, created_order, id, new_id, with};
use crate::pair::{PUBSUB, Services, Started, TOPIC};
use crate::process::{PATIENCE, eventually};

/// The application, with its own sidecar.
struct PlainApp {
    child: Child,
    input: ChildStdin,
    events: Receiver<Value>,
    _sidecar: Sidecar,
}

impl PlainApp {
    fn start(broker: &dyn Broker) -> Self {
        let port = free_port();
        let component = broker.component(PUBSUB, "plain", &[TOPIC]);
        let options = SidecarOptions::new("plain", App::Http(port), Resources::default().pubsub(&component));
        let sidecar = Sidecar::start(options);
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/dapr/plain_app.py");
        let mut child = Command::new("python3")
            .args([script, &port.to_string(), &sidecar.http_port().to_string(), PUBSUB, TOPIC])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("python3 is missing ({error}): apt-get install python3"));
        wait_for_port(port, "the plain app");
        let output = BufReader::new(child.stdout.take().expect("a pipe"));
        let (sender, events) = channel();
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                drop(sender.send(serde_json::from_str(&line).expect("a line of JSON")));
            }
        });
        let input = child.stdin.take().expect("a pipe");
        Self { child, input, events, _sidecar: sidecar }
    }

    fn publish(&mut self, content_type: &str, body: &Value) {
        writeln!(self.input, "{}", json!({"contentType": content_type, "body": body})).expect("a pipe");
    }

    fn next_event(&self) -> Value {
        self.events.recv_timeout(PATIENCE).expect("an event")
    }
}

impl Drop for PlainApp {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

async fn our_events_reach<B: Started, const HTTP: bool>() {
    let services = Services::<B, HTTP>::start();
    let plain = PlainApp::start(services.broker());
    let mut client = services.client();
    let one = created_customer(&mut client, "1 Elm").await;
    let moved = with(&one, &json!({"shippingAddress": address("9 Yew")}));
    client.put(CUSTOMER, &moved).await.expect(200);
    let event = plain.next_event();
    assert_eq!(event["specversion"], "1.0");
    assert_eq!(event["source"], "customer");
    assert_eq!(event["type"], "CustomerAddressUpdated.v1");
    assert_eq!(event["subject"], one["id"]);
    assert_eq!(event["topic"], TOPIC);
    assert_eq!(event["data"], json!({"customerId": one["id"], "shippingAddress": address("9 Yew")}));
}

#[tokio::test]
async fn our_events_reach_an_app_that_knows_nothing_of_us() {
    our_events_reach::<Redis, false>().await;
}

#[tokio::test]
async fn our_events_reach_it_over_jetstream_and_http_too() {
    our_events_reach::<Nats, true>().await;
}

/// The broker brings so many of the four.
async fn its_events_are_handled_once<B: Started, const HTTP: bool>(brought: u32) {
    let services = Services::<B, HTTP>::start();
    let mut plain = PlainApp::start(services.broker());
    let mut client = services.client();
    let customer = new_id();
    let order = created_order(&mut client, &customer, "1 Elm").await;
    let path = format!("{ORDER}/{}", id(&order));
    let data = |street: &str| json!({"customerId": customer, "shippingAddress": address(street)});

    // An envelope that the sidecar makes.
    plain.publish("application/json", &data("2 Oak"));
    let arrived = async |client: &mut crate::client::Client, street: &str| {
        let path = path.clone();
        eventually("the order has the address", async || {
            let now = client.get(path.clone()).await.expect(200).json();
            (now["shippingAddress"] == address(street)).then_some(())
        })
        .await;
    };
    arrived(&mut client, "2 Oak").await;

    // An envelope of the app's own, twice under one id.
    let envelope = json!({
        "specversion": "1.0", "id": "plain-1", "source": "plain", "type": "moved", "data": data("3 Fir"),
        "datacontenttype": "application/json",
    });
    plain.publish("application/cloudevents+json", &envelope);
    plain.publish("application/cloudevents+json", &envelope);
    arrived(&mut client, "3 Fir").await;
    plain.publish("application/json", &data("4 Ash"));
    arrived(&mut client, "4 Ash").await;
    let taken = format!("annals_bus_deliveries_total{{topic=\"{TOPIC}\",outcome=\"handled\"}} {brought}");
    eventually("all deliveries were answered", async || {
        services.order_client().get("/metrics").await.body.contains(&taken).then_some(())
    })
    .await;
    let history = client.get(format!("{path}/history")).await.expect(200).json();
    let streets: Vec<_> = history
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|event| event["data"].pointer("/shippingAddress/street"))
        .collect();
    assert_eq!(streets, [&json!("1 Elm"), &json!("2 Oak"), &json!("3 Fir"), &json!("4 Ash")], "{history:#}");
}

#[tokio::test]
async fn events_of_another_app_are_handled_once() {
    its_events_are_handled_once::<Redis, false>(4).await;
}

#[tokio::test]
async fn events_of_another_app_are_handled_once_over_jetstream_and_http_too() {
    // It keeps an id once by itself, within two minutes.
    its_events_are_handled_once::<Nats, true>(3).await;
}
