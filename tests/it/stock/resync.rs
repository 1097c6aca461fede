//! Everything of a store is told, or what may differ.

use jobs::{Job, ResyncStore};
use marketplace_sync::stock::enqueue_requested_resyncs;
use marketplace_sync::worker;
use reqwest::{Method, StatusCode};
use rstest::rstest;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::catalogue::{Catalogue, pair};
use crate::support::app::Profile::{Embedded, Server};
use crate::support::app::{Profile, TestStore, on};

/// More than two pages.
const MANY: i64 = 4100;

async fn request(it: &Catalogue, store: TestStore, query: &str) -> Value {
    let path = format!("/stores/{}/stock-sync/resync{query}", store.id);
    let (status, answer) = it.ask(Method::POST, &path, None).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{answer}");
    answer
}

/// A store that lists so many products, of which every second is shown as it should be.
async fn large_store(it: &Catalogue, count: i64) -> TestStore {
    let store = it.app.register("large").await;
    let now = it.app.clock.now();
    let ids: Vec<Uuid> = (0..count).map(|_| it.app.app.ids.new_id(now)).collect();
    let products = ids
        .iter()
        .map(|id| format!("{}, 'org-1', 'p', 'SIMPLE'", it.literal(*id)));
    it.insert(
        "products (id, organization_id, name, product_type",
        products,
    )
    .await;
    let rows = ids.iter().zip(0..).map(|(id, number)| {
        let confirmed = 6 + number % 2;
        format!(
            "{}, {}, 7, {confirmed}",
            it.literal(store.id.0),
            it.literal(*id)
        )
    });
    it.insert(
        "product_stores (store_id, product_id, sellable_quantity, last_confirmed_quantity",
        rows,
    )
    .await;
    store
}

async fn run(it: &Catalogue, store: TestStore) {
    let job = ResyncStore { store_id: store.id };
    worker::resync_store(&it.app.app, job, &CancellationToken::new())
        .await
        .unwrap();
}

/// What is left of a request: behind which product, and whether its slot is taken.
async fn state(it: &Catalogue, store: TestStore) -> (bool, Option<Uuid>, bool) {
    on!(&it.app.app.db, pool => sqlx::query_as(
        "SELECT resync_requested_at IS NOT NULL, resync_after, resync_enqueued_until IS NOT NULL
         FROM marketplace_rate_limits WHERE store_id = $1")
        .bind(store.id).fetch_one(pool).await.unwrap())
}

#[rstest]
#[tokio::test]
async fn a_resync_tells_everything_that_is_listed(#[values(Embedded, Server)] on: Profile) {
    let it = Catalogue::start(on).await;
    let [store, other] = [
        it.app.register("shop").await,
        it.app.register("other").await,
    ];
    let [coat, glove, unlisted] = [
        it.simple("coat").await,
        it.simple("glove").await,
        it.simple("unlisted").await,
    ];
    for product in [coat, glove, unlisted] {
        it.stock(store, product, 7).await;
        it.set_confirmed(store.id, product, Some(7)).await;
    }
    it.stock(other, coat, 7).await;
    it.put(&pair(store.id, unlisted), json!({ "isListed": false }))
        .await;
    it.empty_queue().await;

    let answer = request(&it, store, "?onlyDiffering=true").await;
    assert_eq!(answer, json!({ "jobId": format!("store:{}", store.id) }));
    assert_eq!(it.app.run_jobs().await, 1);
    assert_eq!(it.pending(store).await, []);

    it.set_sellable(store.id, glove, 8).await;
    request(&it, store, "?onlyDiffering=true").await;
    it.app.run_jobs().await;
    let rows = it.pending(store).await;
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].product_id, glove.0);
    assert_eq!((rows[0].reason.as_str(), rows[0].force), ("RESYNC", false));

    request(&it, store, "").await;
    it.app.run_jobs().await;
    let rows = it.pending(store).await;
    let told: Vec<_> = rows
        .iter()
        .map(|row| (row.product_id, row.force, row.version))
        .collect();
    assert_eq!(told, [(coat.0, true, 1), (glove.0, true, 2)]);
    assert_eq!(it.pending(other).await, []);
    assert_eq!(state(&it, store).await, (false, None, false));

    let nobody = "/stores/00000000-0000-0000-0000-000000000000/stock-sync/resync";
    it.refused(Method::POST, nobody, None, 404, "Store not found")
        .await;
    let path = format!("/stores/{}/stock-sync/resync?onlyDiffering=1", store.id);
    it.refused(Method::POST, &path, None, 400, "Validation error")
        .await;
}

#[rstest]
#[tokio::test]
async fn a_resync_of_many_goes_page_by_page(#[values(Embedded, Server)] on: Profile) {
    let it = Catalogue::start(on).await;
    let store = large_store(&it, MANY).await;
    request(&it, store, "?onlyDiffering=true").await;
    it.app.run_jobs().await;
    assert_eq!(
        it.pending(store).await.len(),
        usize::try_from(MANY / 2).unwrap()
    );
    request(&it, store, "").await;
    it.app.run_jobs().await;
    let rows = it.pending(store).await;
    assert_eq!(rows.len(), usize::try_from(MANY).unwrap());
    assert!(rows.iter().all(|row| row.force && row.version <= 2));
}

/// A run that ends anywhere is gone on with where it was, not from the beginning.
#[rstest]
#[tokio::test]
async fn a_resync_that_is_cut_short_goes_on(#[values(Embedded, Server)] on: Profile) {
    let mut it = Catalogue::start(on).await;
    it.app.leave_jobs();
    let store = large_store(&it, MANY).await;
    request(&it, store, "").await;
    // The process stops before the first page: the next tick finds it.
    let stop = CancellationToken::new();
    stop.cancel();
    let job = ResyncStore { store_id: store.id };
    worker::resync_store(&it.app.app, job, &stop).await.unwrap();
    assert_eq!(state(&it, store).await, (true, None, false));
    assert_eq!(it.pending(store).await, []);

    // As a run leaves it that dies behind some page.
    let rows: Vec<Uuid> = on!(&it.app.app.db, pool => sqlx::query_scalar(
        "SELECT product_id FROM product_stores WHERE store_id = $1 ORDER BY product_id")
        .bind(store.id).fetch_all(pool).await.unwrap());
    let behind = rows[1999];
    on!(&it.app.app.db, pool => sqlx::query(
        "UPDATE marketplace_rate_limits SET resync_after = $2 WHERE store_id = $1")
        .bind(store.id).bind(behind).execute(pool).await.map(|_| ()).unwrap());
    run(&it, store).await;
    let told: Vec<Uuid> = it
        .pending(store)
        .await
        .iter()
        .map(|row| row.product_id)
        .collect();
    assert_eq!(told, rows[2000..]);
    assert_eq!(state(&it, store).await, (false, None, false));
    // What nobody asked for any more is not done again.
    it.empty_queue().await;
    run(&it, store).await;
    assert_eq!(it.pending(store).await, []);
}

/// A request that comes while another one is worked on is for all products, from the first on; and
/// one for everything is not made less by one for what differs.
#[rstest]
#[tokio::test]
async fn a_later_request_takes_nothing_away(#[values(Embedded, Server)] on: Profile) {
    let it = Catalogue::start(on).await;
    let store = it.app.register("shop").await;
    let coat = it.simple("coat").await;
    it.stock(store, coat, 7).await;
    it.set_confirmed(store.id, coat, Some(7)).await;
    for queries in [["", "?onlyDiffering=true"], ["?onlyDiffering=true", ""]] {
        it.empty_queue().await;
        for query in queries {
            request(&it, store, query).await;
            on!(&it.app.app.db, pool => sqlx::query(
                "UPDATE marketplace_rate_limits SET resync_after = $1")
                .bind(Uuid::max()).execute(pool).await.map(|_| ()).unwrap());
        }
        request(&it, store, "?onlyDiffering=true").await;
        assert_eq!(
            it.app.run_jobs().await,
            1,
            "one job, however often it is asked for"
        );
        assert_eq!(it.pending(store).await.len(), 1, "{queries:?}");
    }
    // Once it is done, the next one is what it says.
    it.empty_queue().await;
    request(&it, store, "?onlyDiffering=true").await;
    it.app.run_jobs().await;
    assert_eq!(it.pending(store).await, []);
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn two_runs_at_once_do_it_once(#[values(Embedded, Server)] on: Profile) {
    let mut it = Catalogue::start(on).await;
    it.app.leave_jobs();
    let store = large_store(&it, MANY).await;
    request(&it, store, "").await;
    let other = it.app.other_process().await;
    let job = ResyncStore { store_id: store.id };
    let stop = CancellationToken::new();
    let (here, there) = tokio::join!(
        worker::resync_store(&it.app.app, job, &stop),
        worker::resync_store(&other, job, &stop)
    );
    here.unwrap();
    there.unwrap();
    let rows = it.pending(store).await;
    assert_eq!(rows.len(), usize::try_from(MANY).unwrap());
    assert!(
        rows.iter().all(|row| row.version == 1),
        "a page was done twice"
    );
    assert_eq!(state(&it, store).await, (false, None, false));
}

/// The request is a row: a job that was lost is pushed again, and one that waits is not.
#[rstest]
#[tokio::test]
async fn a_lost_job_is_pushed_again(#[values(Embedded, Server)] on: Profile) {
    let it = Catalogue::start(on).await;
    let store = it.app.register("shop").await;
    let coat = it.simple("coat").await;
    it.stock(store, coat, 7).await;
    it.empty_queue().await;
    // A queue that nobody has seen before could be one that was lost.
    enqueue_requested_resyncs(&it.app.app).await.unwrap();
    request(&it, store, "").await;
    let waiting = async || it.app.app.queue.waiting(ResyncStore::QUEUE).await.unwrap();
    assert_eq!(waiting().await, 1);
    enqueue_requested_resyncs(&it.app.app).await.unwrap();
    assert_eq!(waiting().await, 1, "it waits already");
    // Its job is taken by nobody, and its slot ends.
    let lost = it
        .app
        .app
        .queue
        .run_until_empty(1, |_: ResyncStore| async { Ok(()) });
    assert_eq!(lost.await.unwrap(), 1);
    enqueue_requested_resyncs(&it.app.app).await.unwrap();
    assert_eq!(waiting().await, 0);
    it.app.clock.advance(std::time::Duration::from_mins(15));
    enqueue_requested_resyncs(&it.app.app).await.unwrap();
    assert_eq!(it.app.run_jobs().await, 1);
    assert_eq!(it.pending(store).await.len(), 1);
    enqueue_requested_resyncs(&it.app.app).await.unwrap();
    assert_eq!(waiting().await, 0, "nobody asks for it any more");
}
