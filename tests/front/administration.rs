//! The second listener.

use super::harness::Rig;

#[tokio::test]
async fn tells_metrics_and_health() {
    let rig = Rig::start().await;
    rig.post("/db/Lot", "{}").await;
    rig.get("/db/Lot/none").await;
    // What was answered is counted when the answer is out.
    let deadline = std::time::Instant::now() + super::support::PATIENCE;
    loop {
        let metrics = rig.ask_admin("/metrics", None, &[]).await;
        assert_eq!(metrics.status, 200);
        let value = |name: &str| {
            let line = metrics.text.lines().find(|line| line.split(' ').next() == Some(name));
            line.unwrap_or_else(|| panic!("{name} is not in\n{}", metrics.text)).rsplit(' ').next().unwrap().parse::<f64>().unwrap()
        };
        let [done, refused, commits] =
            ["tidegate_http_answers_2xx_total", "tidegate_http_answers_4xx_total", "tidegate_commit_seconds_count"].map(value);
        assert!(refused <= 1.0 && commits <= 1.0, "{refused} {commits}");
        if done >= 2.0 && refused == 1.0 && commits == 1.0 {
            break;
        }
        assert!(std::time::Instant::now() < deadline, "{done} {refused} {commits}");
    }
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

#[tokio::test]
async fn explains_queries_to_administrators() {
    let rig = Rig::start().await;
    let query = tidegate::object::id::encode_component(r#"{"city":"Hamburg","price":{"$lt":100}}"#);
    let path = format!("/explain?bucket=Lot&q={query}");
    assert_eq!(rig.ask_admin(&path, None, &[]).await.reason(), "admin-only");
    assert_eq!(rig.ask_admin(&path, Some(&rig.token("/db/User/u", &[])), &[]).await.reason(), "admin-only");
    let explained = rig.ask_admin(&path, Some(&rig.root), &[]).await.json();
    assert_eq!(explained["explanation"]["residual"], false, "{explained}");
    assert!(explained["explanation"]["entries"].to_string().contains("city"), "{explained}");
    // It is taken out again, when the worker comes to it.
    while !rig.ask_admin("/metrics", None, &[]).await.text.contains("tidegate_engine_standing_queries 0\n") {
        tokio::task::yield_now().await;
    }
    assert_eq!(rig.ask_admin("/explain?bucket=Lot&q=%7B", Some(&rig.root), &[]).await.reason(), "bad-query");
    assert_eq!(rig.ask_admin("/explain", Some(&rig.root), &[]).await.reason(), "bad-request");
}

#[tokio::test]
async fn a_backup_is_another_server_with_the_same_data() {
    let rig = Rig::start().await;
    let stored = rig.post("/db/Lot", r#"{"id":"/db/Lot/1","a":1}"#).await;
    let backup = async |token: Option<&str>| {
        let mut request = reqwest::Client::new().post(format!("http://{}/backup", rig.server.admin_address()));
        if let Some(token) = token {
            request = request.header("authorization", format!("BAT {token}"));
        }
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.bytes().await.unwrap())
    };
    assert_eq!(backup(None).await.0, 403);
    let (status, copy) = backup(Some(&rig.root)).await;
    assert_eq!(status, 200);
    rig.post("/db/Lot", r#"{"id":"/db/Lot/2"}"#).await;

    let other = tempfile::TempDir::new().unwrap();
    let config = super::harness::config(&other);
    let data = config.store.data.clone();
    let restoring = move || tidegate::store::embedded::backup::restore(&*copy, &data, &mut |_| ()).map(drop);
    tokio::task::spawn_blocking(restoring).await.unwrap().unwrap();
    let server = tidegate::server::Server::start(config).await.unwrap();
    assert_eq!(server.root_password(), None, "the password came along");
    let get = async |path: &str| reqwest::get(format!("{}{path}", server.url())).await.unwrap();
    assert_eq!(get("/db/Lot/1").await.text().await.unwrap(), stored.text);
    assert_eq!(get("/db/Lot/2").await.status().as_u16(), 404);
    let position = |text: &str| text.split('-').next().unwrap().to_owned();
    let restored = get("/db/Lot/query").await;
    let of_restored = restored.headers()["tidegate-position"].to_str().unwrap();
    assert_ne!(position(of_restored), position(stored.header("tidegate-position").unwrap()), "another log");
}
