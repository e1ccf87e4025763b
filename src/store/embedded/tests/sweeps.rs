//! Fields that are renamed and removed while objects have them.

use super::*;
use crate::schema::{ClassRequest, Request, Schema, change};

async fn ask(store: &Embedded, request: Request) -> Result<Arc<Schema>, StoreError> {
    let decide = move |schema: &Schema| change(schema, &request, &Caller::admin()).map_err(|error| Refusal::Invalid(error.to_string()));
    store.commit_schema("app".into(), Arc::new(decide)).await
}

fn lot(fields: &str) -> ClassRequest {
    serde_json::from_str(&format!(r#"{{"class":"/db/Lot","fields":{fields}}}"#)).unwrap()
}

fn rename(from: &str, to: &str) -> Request {
    Request::Rename { class: "/db/Lot".into(), from: from.into(), to: to.into() }
}

async fn declared(store: &Embedded, objects: u32) {
    let fields = lot(r#"{"a":{"name":"a","type":"/db/Integer"},"b":{"name":"b","type":"/db/Integer"}}"#);
    ask(store, Request::Merge(vec![fields])).await.unwrap();
    commit_all(store, (0..objects).map(|n| put(key("Lot", &n.to_string()), format!(r#""a":{n},"b":1"#)))).await;
}

/// Objects on the disk that still have a field.
fn stored_with(store: &Embedded, field: &str) -> usize {
    let name = format!("\"{field}\":");
    let stored = store.keyspaces.objects.prefix(keys::bucket("app", "Lot"));
    stored.filter_map(|entry| entry.value().ok()).filter(|text| std::str::from_utf8(text).unwrap().contains(&name)).count()
}

async fn settled(store: &Embedded) {
    eventually(|| store.schema("app").moves.is_empty()).await;
}

async fn count(store: &Embedded, field: &str) -> usize {
    let images = store.snapshot().await.unwrap().select(all("Lot")).await.unwrap();
    images.iter().filter(|image| image.document.root().get(field).is_some()).count()
}

#[tokio::test]
async fn the_new_name_counts_at_once_and_on_the_disk_in_the_end() {
    let house = House::new();
    let store = house.open();
    declared(&store, 1500).await;
    let schema = ask(&store, rename("a", "x")).await.unwrap();
    assert_eq!(schema.altered.len(), 1);
    // Whatever is rewritten by now.
    assert_eq!((count(&store, "a").await, count(&store, "x").await), (0, 1500));
    let before = commit(&store, delete(key("Lot", "7"))).await.before.clone().unwrap();
    assert_eq!((number(&before, "x"), before.version()), (7, 1));
    settled(&store).await;
    assert_eq!((stored_with(&store, "a"), stored_with(&store, "x")), (0, 1499));
    // Versions and the log know nothing of it.
    let image = store.snapshot().await.unwrap().get(&key("Lot", "8")).await.unwrap().unwrap();
    assert_eq!((image.version(), number(&image, "x")), (1, 8));
    let remove = Request::Replace { classes: vec![lot(r#"{"x":{"name":"x","type":"/db/Integer"}}"#)], whole: false };
    ask(&store, remove).await.unwrap();
    assert_eq!(count(&store, "b").await, 0);
    settled(&store).await;
    assert_eq!(stored_with(&store, "b"), 0);
    // Now the name is free again, and nothing old is behind it.
    ask(&store, rename("x", "b")).await.unwrap();
    assert_eq!((count(&store, "x").await, count(&store, "b").await), (0, 1499));
}

#[tokio::test]
async fn it_goes_on_after_a_crash() {
    let house = House::new();
    let store = house.open();
    declared(&store, 3000).await;
    ask(&store, rename("a", "x")).await.unwrap();
    // As after a crash: nothing is closed.
    drop(store);
    let store = house.open();
    assert_eq!((count(&store, "a").await, count(&store, "x").await), (0, 3000));
    settled(&store).await;
    assert_eq!(stored_with(&store, "a"), 0);
    drop(store);
    let store = house.open();
    assert_eq!((count(&store, "a").await, count(&store, "x").await), (0, 3000));
}

#[tokio::test]
async fn writers_go_on_meanwhile_and_lose_nothing() {
    let house = House::new();
    let store = Arc::new(house.open());
    declared(&store, 2000).await;
    let writer = {
        let store = store.clone();
        tokio::spawn(async move {
            for n in 0..400_u32 {
                let key = key("Lot", &(n % 50).to_string());
                let own = key.clone();
                let write = write(key, move |before, stamp| {
                    let text = std::str::from_utf8(before.unwrap().json()).unwrap();
                    let (_, fields) = text.split_once(r#","at":"#).unwrap();
                    let (_, fields) = fields.trim_end_matches('}').split_once(',').unwrap();
                    Ok(object(&own, stamp, fields))
                });
                store.commit(write).await.unwrap();
            }
        })
    };
    let mut name = "a";
    for next in ["x", "y", "a", "z"] {
        loop {
            match ask(&store, rename(name, next)).await {
                Ok(_) => break,
                Err(StoreError::Refused(refusal)) => assert!(refusal.to_string().contains("still"), "{refusal}"),
                Err(error) => panic!("{error}"),
            }
            tokio::task::yield_now().await;
        }
        name = next;
    }
    writer.await.unwrap();
    let images = store.snapshot().await.unwrap().select(all("Lot")).await.unwrap();
    assert_eq!(images.len(), 2000);
    for image in images {
        let id: i64 = image.document.root().get("id").map(|_| id_of(&image).rsplit('/').next().unwrap().parse().unwrap()).unwrap();
        assert_eq!((number(&image, "z"), number(&image, "b")), (id, 1), "{image:?}");
    }
    settled(&store).await;
    assert_eq!(stored_with(&store, "z"), 2000);
}

#[tokio::test]
async fn a_class_with_objects_does_not_go() {
    let house = House::new();
    let store = house.open();
    declared(&store, 1).await;
    let gone = || Request::Delete { class: "/db/Lot".into() };
    assert!(matches!(ask(&store, gone()).await, Err(StoreError::Refused(Refusal::Occupied(_)))));
    commit(&store, delete(key("Lot", "0"))).await;
    assert!(ask(&store, gone()).await.unwrap().altered[0].gone);
}
