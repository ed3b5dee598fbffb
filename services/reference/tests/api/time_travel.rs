//! The state then: `?version` and `?at` over HTTP, for random histories.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

use crate::bodies::{CUSTOMER, ORDER, address, created_customer, created_order, history, id, new_id, with};
use crate::client::Client;
use crate::process::{Services, count, seed};

/// What an instance was at each version that was answered; nothing where it was removed.
type Recorded = Vec<(u64, Option<Value>)>;

async fn random_history(client: &mut Client, random: &mut StdRng) -> (String, Recorded) {
    let mut body = created_order(client, &new_id(), "1 Elm").await;
    let order = id(&body).to_owned();
    let mut recorded = vec![(1, Some(body.clone()))];
    for _ in 0..random.random_range(1..8) {
        let last = recorded.last().map(|(version, state)| (*version, state.is_some()));
        let (version, exists) = last.expect("at least one");
        if !exists {
            body = client.post(ORDER, &body).await.expect(201).json();
        } else if random.random_ratio(1, 5) {
            client.delete(format!("{ORDER}/{order}")).await.expect(204);
            recorded.push((version + 1, None));
            continue;
        } else {
            let street = format!("{} Oak", random.random_range(0..3));
            body = client
                .put(ORDER, &with(&body, &json!({"shippingAddress": address(&street)})))
                .await
                .expect(200)
                .json();
        }
        let version = body["eTag"].as_str().and_then(|tag| tag.parse().ok()).expect("a version");
        recorded.push((version, Some(body.clone())));
    }
    (order, recorded)
}

/// Every recorded state is what a look back gives, by version and by the time of its event.
async fn look_back(client: &mut Client, order: &str, recorded: &Recorded) {
    let events = history(client, ORDER, order).await;
    assert_eq!(events.len() as u64, recorded.last().expect("at least one").0);
    for (version, state) in recorded {
        let time = events[usize::try_from(*version).unwrap() - 1]["time"].as_str().unwrap();
        for query in [format!("version={version}"), format!("at={time}")] {
            let then = client.get(format!("{ORDER}/{order}?{query}")).await;
            match state {
                Some(state) => assert_eq!(&then.expect(200).json(), state, "{query}"),
                None => drop(then.expect_problem(404, "not_found")),
            }
        }
    }
}

#[tokio::test]
async fn every_recorded_state_is_what_a_look_back_gives() {
    let mut random = StdRng::seed_from_u64(seed());
    let services = Services::start();
    let mut client = services.client();
    let mut all = Vec::new();
    for _ in 0..count("ANNALS_HISTORIES", 20) {
        let (order, recorded) = random_history(&mut client, &mut random).await;
        look_back(&mut client, &order, &recorded).await;
        all.push((order, recorded));
    }
    // Snapshots are a cache: without them only time is lost.
    let data = services.data();
    let (status, directory) = services.stop();
    assert!(status.success());
    for service in ["customer", "order"] {
        std::fs::remove_dir_all(data.join(service).join("snapshots")).expect("snapshots to remove");
    }
    let services = Services::on(&directory);
    let mut client = services.client();
    for (order, recorded) in &all {
        look_back(&mut client, order, recorded).await;
        if let Some((_, Some(now))) = recorded.last() {
            assert_eq!(&client.get(format!("{ORDER}/{order}")).await.expect(200).json(), now);
        }
    }
}

#[tokio::test]
async fn moments_that_never_were_are_not_found() {
    let services = Services::start();
    let mut client = services.client();
    let one = created_customer(&mut client, "1 Elm").await;
    let path = format!("{CUSTOMER}/{}", id(&one));
    for (query, detail) in [
        ("version=0", "the customer is at version 1 and has no version 0"),
        ("version=2", "the customer is at version 1 and has no version 2"),
        ("at=2001-01-01T00:00:00Z", "the customer had no events yet at 2001-01-01T00:00:00Z"),
    ] {
        let problem = client.get(format!("{path}?{query}")).await.expect_problem(404, "not_found");
        assert_eq!(problem.json()["detail"], detail);
    }
    let future = client.get(format!("{path}?at=2999-01-01T00:00:00%2B02:00")).await.expect(200);
    assert_eq!((future.json(), future.etag()), (one, "1".to_owned()));
    for query in ["version=x", "at=noon", "at=2026-01-01", "version=-1", "version=1&at=2999-01-01T00:00:00Z"]
    {
        client.get(format!("{path}?{query}")).await.expect_problem(422, "invalid_query");
    }
}

#[tokio::test]
async fn a_state_that_is_not_there_says_why() {
    let services = Services::start();
    let mut client = services.client();
    let order = created_order(&mut client, &new_id(), "1 Elm").await;
    let path = format!("{ORDER}/{}", id(&order));
    client.delete(path.clone()).await.expect(204);
    let nobody = format!("{ORDER}/{}", new_id());
    for (asked, detail) in [
        (format!("{path}?version=99"), "the order is at version 2 and has no version 99"),
        (format!("{path}?version=2"), "at version 2 the order is deleted"),
        (format!("{path}?at=2999-01-01T00:00:00Z"), "at version 2 the order is deleted"),
        (path, "there is no such order"),
        (format!("{nobody}?version=1"), "there is no such order"),
        (nobody, "there is no such order"),
    ] {
        let problem = client.get(asked.clone()).await.expect_problem(404, "not_found");
        assert_eq!(problem.json()["detail"], detail, "{asked}");
    }
}

#[tokio::test]
async fn a_command_is_never_seen_by_half() {
    let services = Services::start();
    let mut client = services.client();
    let one = created_customer(&mut client, "1 Elm").await;
    let moved = with(&one, &json!({"shippingAddress": address("2 Oak"), "firstName": "Jane"}));
    let moved = client.put(CUSTOMER, &moved).await.expect(200).json();
    let events = history(&mut client, CUSTOMER, id(&one)).await;
    let time = events[1]["time"].as_str().unwrap();
    let then = client.get(format!("{CUSTOMER}/{}?at={time}", id(&one))).await.expect(200);
    assert_eq!(then.json(), moved);
}

#[tokio::test]
async fn a_history_can_be_read_in_parts() {
    let services = Services::start();
    let mut client = services.client();
    let mut body = created_customer(&mut client, "1 Elm").await;
    for _ in 0..4 {
        body = client.put(CUSTOMER, &body).await.expect(200).json();
    }
    let path = format!("{CUSTOMER}/{}/history", id(&body));
    for (query, versions) in
        [("?from=2&limit=2", vec![2, 3]), ("?from=5", vec![5]), ("?from=6", vec![]), ("?limit=1", vec![1])]
    {
        let part = client.get(format!("{path}{query}")).await.expect(200).json();
        let found: Vec<_> =
            part.as_array().unwrap().iter().filter_map(|event| event["version"].as_u64()).collect();
        assert_eq!(found, versions, "{query}");
    }
    client.get(format!("{path}?from=x")).await.expect_problem(422, "invalid_query");
}
