//! The second listener.

use super::harness::Rig;

#[tokio::test]
async fn tells_metrics_and_health() {
    let rig = Rig::start().await;
    rig.post("/db/Lot", "{}").await;
    rig.get("/db/Lot/none").await;
    let metrics = rig.ask_admin("/metrics", None, &[]).await;
    assert_eq!(metrics.status, 200);
    let value = |name: &str| {
        let line = metrics.text.lines().find(|line| line.split(' ').next() == Some(name));
        line.unwrap_or_else(|| panic!("{name} is not in\n{}", metrics.text)).rsplit(' ').next().unwrap().parse::<f64>().unwrap()
    };
    assert!(value("tidegate_http_answers_2xx_total") >= 2.0);
    assert_eq!(value("tidegate_http_answers_4xx_total"), 1.0);
    assert_eq!(value("tidegate_commit_seconds_count"), 1.0);
    assert_eq!(rig.ask_admin("/health", None, &[]).await.json()["status"], "ok");
    assert_eq!(rig.ask_admin("/v1/status", None, &[]).await.reason(), "no-such-page");
    assert_eq!(rig.get("/metrics").await.reason(), "no-such-page");
}

#[tokio::test]
async fn no_foreign_page_reaches_it() {
    let rig = Rig::start().await;
    let answer = rig.ask_admin("/metrics", None, &[("host", "evil.example")]).await;
    assert_eq!((answer.status, &*answer.reason()), (403, "admin-only"));
}
