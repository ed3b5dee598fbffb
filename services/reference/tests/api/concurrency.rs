//! Many clients on one instance.

use std::collections::HashMap;

use serde_json::json;

use crate::bodies::{CUSTOMER, ORDER, address, created_customer, created_order, history, id, with};
use crate::client::{Client, Request, Response};
use crate::process::Services;

/// Opens the connections first, so that the requests really come at once.
pub(crate) async fn at_once(services: &Services, requests: Vec<Request>) -> Vec<Response> {
    let mut clients: Vec<Client> = Vec::new();
    for _ in &requests {
        let mut client = services.client();
        client.get("/livez").await.expect(200);
        clients.push(client);
    }
    let sent = clients.into_iter().zip(requests);
    let sent: Vec<_> =
        sent.map(|(mut client, request)| tokio::spawn(async move { client.send(request).await })).collect();
    let mut answers = Vec::new();
    for answer in sent {
        answers.push(answer.await.expect("an answer"));
    }
    answers
}

fn by_status(answers: &[Response]) -> HashMap<u16, usize> {
    answers.iter().fold(HashMap::new(), |mut counts, answer| {
        *counts.entry(answer.status).or_default() += 1;
        counts
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_100_changes_with_one_etag_exactly_one_is_accepted() {
    let services = Services::start();
    let mut client = services.client();
    let one = created_customer(&mut client, "1 Elm").await;
    let body = with(&one, &json!({"shippingAddress": address("2 Oak")}));
    let answers = at_once(&services, vec![Request::put(CUSTOMER, &body); 100]).await;
    assert_eq!(by_status(&answers), HashMap::from([(200, 1), (409, 99)]));
    for answer in answers.into_iter().filter(|answer| answer.status == 409) {
        answer.expect_problem(409, "version_conflict");
    }
    assert_eq!(history(&mut client, CUSTOMER, id(&one)).await.len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_100_orders_with_one_id_exactly_one_is_created() {
    let services = Services::start();
    let mut client = services.client();
    let body = crate::bodies::order(&crate::bodies::new_id(), "1 Elm");
    let answers = at_once(&services, vec![Request::post(ORDER, &body); 100]).await;
    assert_eq!(by_status(&answers), HashMap::from([(201, 1), (409, 99)]));
    assert_eq!(history(&mut client, ORDER, id(&body)).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_is_shipped_or_cancelled_never_both() {
    let services = Services::start();
    let mut client = services.client();
    let one = created_order(&mut client, &crate::bodies::new_id(), "1 Elm").await;
    let path = |verb: &str| format!("{ORDER}/{verb}/{}/1", id(&one));
    let requests = (0..40).map(|n| Request::put_empty(path(if n % 2 == 0 { "ship" } else { "cancel" })));
    let answers = at_once(&services, requests.collect()).await;
    assert_eq!(by_status(&answers), HashMap::from([(200, 1), (409, 39)]));
    assert_eq!(history(&mut client, ORDER, id(&one)).await.len(), 2);
}
