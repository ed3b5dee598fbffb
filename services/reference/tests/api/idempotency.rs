//! The same request again: one effect, one answer.

use serde_json::json;

use crate::bodies::{
    CUSTOMER, ORDER, address, created_customer, created_order, customer, history, id, new_id, order, with,
};
use crate::client::{Request, Response};
use crate::concurrency::at_once;
use crate::process::Services;

const REPLAYED: &str = "idempotency-replayed";

/// What must be the same in all answers to one request.
fn essence(answer: &Response) -> (u16, String, Option<String>, Option<String>) {
    let header = |name: &str| answer.header(name).map(str::to_owned);
    (answer.status, answer.body.clone(), header("etag"), header("location"))
}

/// Sends it 50 times at once and once more after a restart; one answer is the first, all others repeat it.
async fn sent_50_times(services: Services, request: Request, status: u16) -> (Services, Response) {
    let answers = at_once(&services, vec![request.clone(); 50]).await;
    let first = essence(&answers[0]);
    assert_eq!(first.0, status, "{:?}", answers[0]);
    assert!(answers.iter().all(|answer| essence(answer) == first), "{answers:#?}");
    let replayed = answers.iter().filter(|answer| answer.header(REPLAYED) == Some("true")).count();
    assert_eq!(replayed, 49);
    let services = services.restart();
    let again = services.client().send(request).await;
    assert_eq!((essence(&again), again.header(REPLAYED)), (first, Some("true")));
    (services, again)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_customer_created_50_times_under_one_key_is_one_customer() {
    let services = Services::start();
    let body = with(&customer("1 Elm"), &json!({"id": null}));
    let request = Request::post(CUSTOMER, &body).keyed("create-joe");
    let (services, answer) = sent_50_times(services, request, 201).await;
    let mut client = services.client();
    assert_eq!(client.get(CUSTOMER).await.expect(200).json(), json!([answer.json()]));
    assert_eq!(history(&mut client, CUSTOMER, id(&answer.json())).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_sent_50_times_under_one_key_is_one_change() {
    let services = Services::start();
    let one = created_customer(&mut services.client(), "1 Elm").await;
    let body = with(&one, &json!({"shippingAddress": address("2 Oak")}));
    let request = Request::put(CUSTOMER, &body).keyed("move joe!");
    let (services, answer) = sent_50_times(services, request, 200).await;
    assert_eq!(answer.json(), with(&body, &json!({"eTag": "3"})));
    assert_eq!(history(&mut services.client(), CUSTOMER, id(&one)).await.len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_shipped_50_times_under_one_key_is_shipped_once() {
    let services = Services::start();
    let one = created_order(&mut services.client(), &new_id(), "1 Elm").await;
    let request = Request::put_empty(format!("{ORDER}/ship/{}/1", id(&one))).keyed("ship");
    let (services, _) = sent_50_times(services, request, 200).await;
    assert_eq!(history(&mut services.client(), ORDER, id(&one)).await.len(), 2);
}

#[tokio::test]
async fn the_first_answer_is_repeated_whatever_has_happened_since() {
    let services = Services::start();
    let mut client = services.client();
    let body = customer("1 Elm");
    let create = Request::post(CUSTOMER, &body).keyed("a");
    let created = client.send(create.clone()).await.expect(201);
    assert_eq!(created.header(REPLAYED), None);
    let change = Request::put(CUSTOMER, &with(&created.json(), &json!({"firstName": "Jane"}))).keyed("b");
    let changed = client.send(change.clone()).await.expect(200);
    for answer in [client.send(create.clone()).await, client.send(create.clone()).await] {
        assert_eq!((essence(&answer), answer.header(REPLAYED)), (essence(&created), Some("true")));
    }
    client.delete(format!("{CUSTOMER}/{}", id(&body))).await.expect(204);
    assert_eq!(essence(&client.send(change).await), essence(&changed));
    assert_eq!(essence(&client.send(create).await), essence(&created));
}

#[tokio::test]
async fn a_key_stands_for_one_body() {
    let services = Services::start();
    let mut client = services.client();
    let body = order(&new_id(), "1 Elm");
    client.send(Request::post(ORDER, &body).keyed("k")).await.expect(201);
    for other in [with(&body, &json!({"customerId": new_id()})), order(&new_id(), "1 Elm")] {
        let refused = client.send(Request::post(ORDER, &other).keyed("k")).await;
        refused.expect_problem(422, "idempotency_key_reused");
    }
    assert_eq!(client.get(ORDER).await.expect(200).json().as_array().unwrap().len(), 1);
    // Its scope is the service, the method and the path.
    client.send(Request::post(CUSTOMER, &customer("1 Elm")).keyed("k")).await.expect(201);
    let created = client.get(format!("{ORDER}/{}", id(&body))).await.expect(200).json();
    client.send(Request::put(ORDER, &created).keyed("k")).await.expect(200);
}

#[tokio::test]
async fn a_key_is_1_to_255_printable_characters() {
    let services = Services::start();
    let mut client = services.client();
    client.send(Request::post(CUSTOMER, &customer("1 Elm")).keyed(&"k".repeat(255))).await.expect(201);
    for wrong in ["".to_owned(), "k".repeat(256), "kéy".to_owned()] {
        let refused = client.send(Request::post(CUSTOMER, &customer("1 Elm")).keyed(&wrong)).await;
        refused.expect_problem(422, "idempotency_key_invalid");
    }
}

#[tokio::test]
async fn a_refused_request_can_be_sent_again_under_its_key() {
    let services = Services::start();
    let mut client = services.client();
    let one = created_customer(&mut client, "1 Elm").await;
    let stale = with(&one, &json!({"eTag": "9"}));
    client.send(Request::put(CUSTOMER, &stale).keyed("k")).await.expect_problem(409, "version_conflict");
    client.send(Request::put(CUSTOMER, &one).keyed("k")).await.expect(200);
}
