//! Lists: order, pages, and that what was acknowledged is in them.

use serde_json::{Value, json};

use crate::bodies::{CUSTOMER, ORDER, address, created_customer, created_order, id, new_id, with};
use crate::process::Services;

fn ids(list: &Value) -> Vec<&str> {
    list.as_array().expect("an array").iter().map(id).collect()
}

#[tokio::test]
async fn a_list_is_an_array_in_the_order_of_creation() {
    let services = Services::start();
    let mut client = services.client();
    let empty = client.get(CUSTOMER).await.expect(200);
    assert_eq!((empty.body.as_str(), empty.header("content-type")), ("[]", Some("application/json")));
    let mut created = Vec::new();
    for number in 0..300 {
        created.push(created_customer(&mut client, &format!("{number} Elm")).await);
    }
    let moved = with(&created[5], &json!({"shippingAddress": address("2 Oak")}));
    created[5] = client.put(CUSTOMER, &moved).await.expect(200).json();
    let all = client.get(CUSTOMER).await.expect(200).json();
    assert_eq!(all, Value::Array(created.clone()));
    let page = client.get(format!("{CUSTOMER}?limit=3&after={}", id(&created[4]))).await.expect(200).json();
    assert_eq!(page, Value::Array(created[5..8].to_vec()));
    assert_eq!(client.get(format!("{CUSTOMER}?limit=0")).await.expect(200).json(), json!([]));
}

#[tokio::test]
async fn paging_goes_on_after_something_removed() {
    let services = Services::start();
    let mut client = services.client();
    let customer = new_id();
    let mut created = Vec::new();
    for _ in 0..4 {
        created.push(created_order(&mut client, &customer, "1 Elm").await);
        created_order(&mut client, &new_id(), "2 Oak").await;
    }
    client.delete(format!("{ORDER}/{}", id(&created[1]))).await.expect(204);
    let path = format!("{ORDER}/customer/{customer}?limit=1&after={}", id(&created[1]));
    let page = client.get(path).await.expect(200).json();
    assert_eq!(ids(&page), [id(&created[2])]);
}

#[tokio::test]
async fn a_page_that_makes_no_sense_is_refused() {
    let services = Services::start();
    let mut client = services.client();
    for query in ["limit=x", "limit=-1", "after=x", &format!("after={}", new_id())] {
        for list in [CUSTOMER.to_owned(), ORDER.to_owned(), format!("{ORDER}/customer/{}", new_id())] {
            client.get(format!("{list}?{query}")).await.expect_problem(422, "invalid_query");
        }
    }
}

#[tokio::test]
async fn what_was_acknowledged_is_listed() {
    let services = Services::start();
    let (mut writer, mut reader) = (services.client(), services.client());
    let customer = new_id();
    for number in 1..=50 {
        let order = created_order(&mut writer, &customer, "1 Elm").await;
        let list = reader.get(format!("{ORDER}/customer/{customer}")).await.expect(200).json();
        assert_eq!((ids(&list).len(), ids(&list).last().copied()), (number, Some(id(&order))));
    }
}

#[tokio::test]
async fn lists_are_there_again_after_a_restart() {
    let services = Services::start();
    let mut client = services.client();
    let anna = created_customer(&mut client, "1 Elm").await;
    created_order(&mut client, id(&anna), "1 Elm").await;
    let paths = [CUSTOMER.to_owned(), ORDER.to_owned(), format!("{ORDER}/customer/{}", id(&anna))];
    let mut before = Vec::new();
    for path in &paths {
        before.push(client.get(path).await.expect(200).body);
    }
    let services = services.restart();
    let mut client = services.client();
    for (path, before) in paths.iter().zip(before) {
        assert_eq!(client.get(path).await.expect(200).body, before);
    }
}
