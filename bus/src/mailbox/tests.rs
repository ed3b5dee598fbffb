use std::sync::Arc;

use super::*;

#[tokio::test]
async fn all_that_is_there_is_taken_at_once_in_its_order() {
    let mailbox = Mailbox::default();
    for one in 0..1000 {
        assert_eq!(mailbox.put(one), Ok(()));
    }
    let mut taken = Vec::new();
    assert!(mailbox.take(&mut taken).await);
    assert!(taken.into_iter().eq(0..1000));
}

#[tokio::test]
async fn whoever_waits_is_woken() {
    let mailbox = Arc::new(Mailbox::default());
    let other = Arc::clone(&mailbox);
    let putting = tokio::spawn(async move {
        for one in 0..100 {
            other.put(one).unwrap();
            tokio::task::yield_now().await;
        }
    });
    let (mut all, mut taken) = (Vec::new(), Vec::new());
    while all.len() < 100 {
        assert!(mailbox.take(&mut taken).await);
        all.append(&mut taken);
    }
    putting.await.unwrap();
    assert!(all.into_iter().eq(0..100));
}

#[tokio::test]
async fn what_is_put_into_a_closed_one_comes_back() {
    let mailbox = Arc::new(Mailbox::default());
    let (kept, other) = (Arc::new(()), Arc::clone(&mailbox));
    let taking = tokio::spawn(async move {
        let mut taken: Vec<Arc<()>> = Vec::new();
        while other.take(&mut taken).await {
            taken.clear();
        }
    });
    tokio::task::yield_now().await;
    mailbox.close();
    taking.await.unwrap();
    assert!(mailbox.put(Arc::clone(&kept)).is_err());
    assert_eq!(Arc::strong_count(&kept), 1);
}
