//! The thread beside the writer.

use super::*;

/// The niceness of every thread of this process with such a name.
fn nice_of(name: &str) -> Vec<i64> {
    let tasks = fs::read_dir("/proc/self/task").unwrap().map(|task| task.unwrap().path());
    let named =
        tasks.filter(|task| fs::read_to_string(task.join("comm")).is_ok_and(|comm| comm.trim() == name));
    named
        .filter_map(|task| {
            let stat = fs::read_to_string(task.join("stat")).ok()?;
            // The name may have blanks; what is counted comes after it.
            stat.rsplit(')').next()?.split_whitespace().nth(16)?.parse().ok()
        })
        .collect()
}

#[tokio::test]
async fn the_keeper_is_less_urgent_than_the_writer() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path(), small());
    append_groups(&journal, "1", 1).await;
    let deadline = Instant::now() + Duration::from_secs(60);
    let writer = nice_of("annals-journal")[0];
    while !nice_of("annals-keeper").iter().any(|nice| *nice >= (writer + 10).min(19)) {
        assert!(Instant::now() < deadline, "{:?}", nice_of("annals-keeper"));
        tokio::task::yield_now().await;
    }
    assert!(nice_of("annals-journal").iter().all(|nice| *nice == writer), "only the keeper steps back");
    journal.close().await;
}
