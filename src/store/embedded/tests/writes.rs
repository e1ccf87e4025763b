//! Decisions, groups, versions and times.

use super::intakes::increment;
use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conditional_writes_lose_no_update() {
    let house = House::new();
    let store = Arc::new(house.open());
    let counter = key("counters", "one");
    commit(&store, put(counter.clone(), r#""n":0"#.into())).await;
    let refused = Arc::new(AtomicI64::new(0));
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let (store, counter, refused) = (Arc::clone(&store), counter.clone(), Arc::clone(&refused));
            tokio::spawn(async move {
                let mut done = 0;
                while done < 25 {
                    let seen = store.snapshot().await.unwrap().get(&counter).await.unwrap().unwrap();
                    let (asked, n) = (seen.version(), number(&seen, "n"));
                    let own = counter.clone();
                    let increment = write(counter.clone(), move |before, stamp| {
                        let found = before.map_or(0, Image::version);
                        if found != asked {
                            return Err(Refusal::OutOfDate { id: own.id.to_string(), asked: asked.to_string(), found: found.to_string() });
                        }
                        Ok(object(&own, stamp, &format!(r#""n":{}"#, n + 1)))
                    });
                    match store.commit(increment).await {
                        Ok(committed) => {
                            done += 1;
                            // Whoever was told of a commit finds it.
                            assert!(store.snapshot().await.unwrap().contains(&committed.change.unwrap()));
                        }
                        Err(StoreError::Refused(Refusal::OutOfDate { .. })) => {
                            refused.fetch_add(1, Ordering::Relaxed);
                        }
                        Err(error) => panic!("{error}"),
                    }
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let end = store.snapshot().await.unwrap().get(&counter).await.unwrap().unwrap();
    assert_eq!((number(&end, "n"), end.version()), (200, 201));
    assert!(refused.load(Ordering::Relaxed) > 0, "the writers never met");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn decisions_see_the_earlier_writes_of_their_group() {
    let house = House::new();
    let store = house.open();
    let counter = key("counters", "one");
    // All are queued before the first is answered, so many share a group.
    let answers: Vec<_> = (0..500)
        .map(|_| {
            let own = counter.clone();
            store.commit(write(counter.clone(), move |before, stamp| {
                let n = before.map_or(0, |image| number(image, "n"));
                Ok(object(&own, stamp, &format!(r#""n":{}"#, n + 1)))
            }))
        })
        .collect();
    let mut times = Vec::new();
    for (position, answer) in answers.into_iter().enumerate() {
        let change = answer.await.unwrap().change.unwrap();
        let after = change.after.as_ref().unwrap();
        assert_eq!((number(after, "n"), after.version()), (position as i64 + 1, position as u64 + 1));
        assert_eq!(change.operation, if position == 0 { Operation::Insert } else { Operation::Update });
        assert_eq!(number(after, "at"), change.at);
        times.push(change.at);
    }
    assert!(times.windows(2).all(|pair| pair[0] < pair[1]), "the times of one object grow strictly");
    let statistics = store.statistics();
    assert_eq!(statistics.commits, 500);
    assert!(statistics.groups < 500, "{statistics:?}");
    assert_eq!(statistics.syncs, statistics.groups);
}

#[tokio::test]
async fn one_bad_write_harms_no_other() {
    let house = House::new();
    let mut small = house.config.store.clone();
    small.object_bytes = 1000;
    let store = Embedded::open(&small, &house.config.changelog).unwrap();
    let good = store.commit(put(key("b", "1"), String::new()));
    let panics = store.commit(write(key("b", "2"), |_, _| panic!("on purpose")));
    let no_json = store.commit(write(key("b", "3"), |_, _| Ok(Decision::Put(Bytes::from_static(b"{oops")))));
    let large = store.commit(put(key("b", "4"), format!(r#""text":"{}""#, "x".repeat(1000))));
    let long_id = store.commit(put(key("b", &"x".repeat(70_000)), String::new()));
    let refused = store.commit(write(key("b", "5"), |_, _| Err(Refusal::Missing("/db/b/5".into()))));
    let nothing = store.commit(delete(key("b", "6")));
    let other = store.commit(put(key("b", "7"), String::new()));
    assert_eq!(good.await.unwrap().change.unwrap().commit, 1);
    assert!(matches!(panics.await, Err(StoreError::Panicked(text)) if text == "on purpose"));
    for unfit in [no_json.await, large.await, long_id.await] {
        assert!(matches!(unfit, Err(StoreError::Unfit(_))), "{unfit:?}");
    }
    assert!(matches!(refused.await, Err(StoreError::Refused(Refusal::Missing(_)))));
    let nothing = nothing.await.unwrap();
    assert!(nothing.change.is_none() && nothing.position.commit() == 1);
    assert_eq!(other.await.unwrap().change.unwrap().commit, 2, "what failed took no commit number");
    assert_eq!(contents(&store.snapshot().await.unwrap(), "b").await.len(), 2);
}

#[tokio::test]
async fn after_a_delete_versions_start_again_and_commits_go_on() {
    let house = House::new();
    let wall = Arc::new(AtomicI64::new(1_000));
    let store = house.open_with(&wall);
    let one = key("b", "1");
    let first = commit(&store, put(one.clone(), String::new())).await;
    let gone = commit(&store, delete(one.clone())).await;
    let again = commit(&store, put(one.clone(), String::new())).await;
    let versions = [&first, &again].map(|change| change.after.as_ref().unwrap().version());
    assert_eq!(versions, [1, 1]);
    assert_eq!((first.commit, gone.commit, again.commit), (1, 2, 3));
    assert_eq!(gone.operation, Operation::Delete);
    assert_eq!(gone.before.as_ref().unwrap().json(), first.after.as_ref().unwrap().json());
    assert_eq!(again.operation, Operation::Insert);
    assert!(first.at < gone.at && gone.at < again.at, "also without a clock that moves");
}

#[tokio::test]
async fn a_clock_set_back_shrinks_nothing() {
    let house = House::new();
    let wall = Arc::new(AtomicI64::new(1_000_000));
    let store = house.open_with(&wall);
    let one = key("b", "1");
    let first = commit(&store, put(one.clone(), String::new())).await;
    wall.store(940_000, Ordering::Relaxed);
    let second = commit(&store, put(one.clone(), String::new())).await;
    let other = commit(&store, put(key("b", "2"), String::new())).await;
    assert!(first.at < second.at && second.at <= other.at);
    assert!(store.clock().now_ms() >= other.at, "tokens go by the same clock");
    let token_time = {
        wall.store(2_000_000, Ordering::Relaxed);
        let time = store.clock().now_ms();
        wall.store(900_000, Ordering::Relaxed);
        time
    };
    store.close().await.unwrap();
    drop(store);
    let store = house.open_with(&wall);
    assert!(store.clock().now_ms() >= token_time, "also across a restart");
    let third = commit(&store, put(one, String::new())).await;
    assert!(third.at > second.at && third.at >= token_time);
    assert_eq!(third.after.as_ref().unwrap().version(), 3);
}

#[tokio::test]
async fn an_object_that_is_written_all_the_time_does_not_carry_the_clock_away() {
    let house = House::new();
    let wall = Arc::new(AtomicI64::new(1_000_000));
    let store = house.open_with(&wall);
    let (log, counter) = (store.changelog(), key("b", "1"));
    let start = log.head();
    futures_util::future::join_all((0..3_000).map(|_| commit(&store, increment(&counter)))).await;
    let (changes, _) = read_all(&log, start, 1 << 24).await.unwrap();
    let times: Vec<_> = changes.iter().map(|change| change.at).collect();
    assert_eq!((times.len(), times[0], times[1]), (3_000, 1_000_000, 1_000_001));
    assert!(times.is_sorted() && times[2_999] == 1_001_000, "{:?}", times.last());
    assert_eq!(store.clock().now_ms(), 1_001_000);
    // Nor does it with every restart.
    store.close().await.unwrap();
    drop((store, log));
    wall.store(1_002_000, Ordering::Relaxed);
    let store = house.open_with(&wall);
    assert_eq!(commit(&store, increment(&counter)).await.at, 1_002_000);
}

#[tokio::test]
async fn too_many_waiting_writes_are_refused() {
    let mut house = House::new();
    house.config.store.queue = 4;
    let store = house.open();
    let (entered, entering) = std::sync::mpsc::channel::<()>();
    let (open, gate) = std::sync::mpsc::channel::<()>();
    let gate = Mutex::new(gate);
    let own = key("b", "slow");
    let slow = store.commit(write(key("b", "slow"), move |_, stamp| {
        entered.send(()).unwrap();
        gate.lock().unwrap().recv().unwrap();
        Ok(object(&own, stamp, ""))
    }));
    entering.recv().unwrap();
    let waiting: Vec<_> = (0..4).map(|n| store.commit(put(key("b", &format!("{n}")), String::new()))).collect();
    assert_eq!(store.statistics().queued, 4);
    assert!(matches!(store.commit(put(key("b", "5"), String::new())).await, Err(StoreError::Overloaded)));
    assert_eq!(store.statistics().overloaded, 1);
    open.send(()).unwrap();
    slow.await.unwrap();
    for write in waiting {
        write.await.unwrap();
    }
}

/// Who changes classes is judged by the roles of the state before that commit, whatever he had when he asked.
#[tokio::test]
async fn a_schema_is_changed_by_the_roles_of_the_commit_before() {
    use dataflows::access::ADMIN_ROLE;
    let house = House::new();
    let store = house.open();
    let role = |users: &str| {
        let key = Key { app: "app".into(), bucket: "Role".into(), id: ADMIN_ROLE.into() };
        put(key, format!(r#""users":[{users}]"#))
    };
    let declare = |name: &'static str, actor: Actor| {
        let change: JudgedSchemaChange = Arc::new(move |schema: &Schema, caller: &Caller| {
            if !caller.is_admin() {
                return Err(Refusal::Denied(name.into()));
            }
            with_date(name)(schema)
        });
        store.commit_schema_by("app".into(), actor, change)
    };
    let joe = || Actor::User("/db/User/joe".into());
    let assumed = || Actor::Assumed { user: "/db/User/joe".into(), role: ADMIN_ROLE.into() };
    // All are in the queue before the first is decided, in this order.
    let early = declare("early", joe());
    let given = store.commit(role(r#""/db/User/joe""#));
    let (first, second) = (declare("first", joe()), declare("second", assumed()));
    let taken = store.commit(role(""));
    let (third, fourth) = (declare("third", joe()), declare("fourth", assumed()));
    given.await.unwrap();
    taken.await.unwrap();
    let denied = |outcome: Result<Arc<Schema>, StoreError>| matches!(outcome, Err(StoreError::Refused(Refusal::Denied(_))));
    assert!(denied(early.await) && denied(third.await) && denied(fourth.await));
    assert!(first.await.is_ok() && second.await.is_ok());
    let schema = store.schema("app");
    let declared = ["early", "first", "second", "third", "fourth"].map(|name| schema.class(name).is_some());
    assert_eq!(declared, [false, true, true, false, false]);
}
