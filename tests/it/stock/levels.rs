//! How many there are, above all of sets.

use std::collections::{BTreeSet, HashMap};

use jobs::StoreId;
use marketplace_sync::stock::model::ProductId;
use rstest::rstest;
use serde_json::{Value, json};
use uuid::Uuid;

use super::catalogue::{Catalogue, id, pair};
use crate::support::app::Profile;
use crate::support::app::Profile::{Embedded, Server};
use crate::support::dice::Dice;

/// Scenarios 1 and 2: as many sets as the scarcest component makes, and none if one is sold out;
/// that there are none is told, not left out.
#[rstest]
#[tokio::test]
async fn there_are_as_many_sets_as_the_scarcest_component_makes(
    #[values(Embedded, Server)] on: Profile,
) {
    let it = Catalogue::start(on).await;
    let store = it.app.register("shop").await;
    let [coat, gloves, scarf] = [
        it.simple("Mont").await,
        it.simple("Eldiven").await,
        it.simple("Atkı").await,
    ];
    let set = it
        .set("SET-001", &[(coat, 1), (gloves, 2), (scarf, 1)])
        .await;
    for (product, sellable) in [(coat, 50), (gloves, 30), (scarf, 40), (set, 0)] {
        it.stock(store, product, sellable).await;
    }
    let path = format!("{}/availability", pair(store.id, set));
    let component = |id: ProductId, name: &str, per_set: i64, sellable: i64| {
        json!({
            "productId": id,
            "name": name,
            "quantityPerSet": per_set,
            "sellable": sellable,
            "makes": sellable / per_set,
            "inStore": true,
        })
    };
    let expected = json!({
        "storeId": store.id,
        "productId": set,
        "productType": "SET",
        "isListed": true,
        "effective": 15,
        "components": [
            component(gloves, "Eldiven", 2, 30),
            component(scarf, "Atkı", 1, 40),
            component(coat, "Mont", 1, 50),
        ],
        "limitingComponentId": gloves,
    });
    assert_eq!(it.get(&path).await, expected);
    assert_eq!(it.effective(store, set).await, 15);

    it.set_sellable(store.id, gloves, 0).await;
    assert_eq!(it.effective(store, set).await, 0);
    let available = it.get(&path).await;
    assert_eq!(
        (&available["effective"], &available["limitingComponentId"]),
        (&json!(0), &json!(gloves))
    );
    // It differs from what was never told, and from any number that was.
    for confirmed in [None, Some(15)] {
        it.set_confirmed(store.id, set, confirmed).await;
        assert_eq!(it.level(store, set).await["differing"], true);
    }
    it.set_confirmed(store.id, set, Some(0)).await;
    assert_eq!(it.level(store, set).await["differing"], false);
}

#[rstest]
#[tokio::test]
async fn a_component_counts_if_its_store_has_it_whether_it_is_listed_or_not(
    #[values(Embedded, Server)] on: Profile,
) {
    let it = Catalogue::start(on).await;
    let [store, other] = [
        it.app.register("shop").await,
        it.app.register("other").await,
    ];
    let [coat, glove] = [it.simple("coat").await, it.simple("glove").await];
    let set = it.set("set", &[(coat, 2), (glove, 1)]).await;
    let empty = it.create("empty", "SET").await;
    for product in [set, empty] {
        it.stock(store, product, 0).await;
    }
    it.stock(store, coat, 9).await;
    it.stock(other, glove, 9).await;
    assert_eq!(
        it.effective(store, set).await,
        0,
        "the gloves are elsewhere"
    );
    let available = it
        .get(&format!("{}/availability", pair(store.id, set)))
        .await;
    assert_eq!(available["components"][0]["inStore"], false);
    assert_eq!(available["limitingComponentId"], json!(glove));

    it.put(&pair(store.id, glove), json!({ "isListed": false }))
        .await;
    it.set_sellable(store.id, glove, 3).await;
    assert_eq!(it.effective(store, set).await, 3);
    assert_eq!(it.effective(store, empty).await, 0);
    let available = it
        .get(&format!("{}/availability", pair(store.id, empty)))
        .await;
    assert_eq!(
        (&available["components"], &available["limitingComponentId"]),
        (&json!([]), &json!(null))
    );
    // One that the store does not have can be asked about as well.
    let available = it
        .get(&format!("{}/availability", pair(other.id, set)))
        .await;
    assert_eq!(
        (&available["effective"], &available["isListed"]),
        (&json!(0), &json!(false))
    );
    let available = it
        .get(&format!("{}/availability", pair(store.id, coat)))
        .await;
    assert_eq!(
        (&available["effective"], &available["components"]),
        (&json!(9), &json!([]))
    );
}

#[rstest]
#[tokio::test]
async fn levels_tell_what_there_is_and_what_was_told(#[values(Embedded, Server)] on: Profile) {
    let it = Catalogue::start(on).await;
    let store = it.register_on("trendyol").await;
    let coat = it.simple("coat").await;
    it.stock(store, coat, 20_001).await;
    it.set_confirmed(store.id, coat, Some(20_000)).await;
    let level = it.level(store, coat).await;
    let expected = json!({
        "storeId": store.id,
        "productId": coat,
        "name": "coat",
        "productType": "SIMPLE",
        "isListed": true,
        "externalSku": null,
        "externalBarcode": null,
        "externalListingId": null,
        "externalLocationId": null,
        "sellable": 20_001,
        "committed": 0,
        "effective": 20_001,
        "lastPushed": 20_000,
        "lastPushedAt": "2024-01-01T12:00:00.123Z",
        "lastConfirmed": 20_000,
        "lastConfirmedAt": "2024-01-01T12:00:00.123Z",
        "pending": true,
        "inFlight": false,
        // Trendyol is told no more.
        "differing": false,
        "pushState": "OK",
        "pushErrorCode": null,
        "pushErrorMessage": null,
        "blockedUntil": null,
        "rejectCount": 0,
    });
    assert_eq!(level, expected);
    // Etsy is told less.
    let other = it.register_on("etsy").await;
    it.stock(other, coat, 20_001).await;
    for (confirmed, differs) in [(999, false), (20_000, true)] {
        it.set_confirmed(other.id, coat, Some(confirmed)).await;
        assert_eq!(it.level(other, coat).await["differing"], differs);
        let found = it
            .get(&format!("/stores/{}/stock?differing=true", other.id))
            .await;
        assert_eq!(
            found["items"].as_array().unwrap().len(),
            usize::from(differs)
        );
    }
    it.empty_queue().await;
    assert_eq!(it.level(store, coat).await["pending"], false);
    it.set_sellable(store.id, coat, 19_999).await;
    assert_eq!(it.level(store, coat).await["differing"], true);
    it.put(&pair(store.id, coat), json!({ "isListed": false }))
        .await;
    assert_eq!(
        it.level(store, coat).await["differing"],
        false,
        "nobody shows it"
    );
    for query in [
        "productType=X",
        "pushState=ok",
        "differing=maybe",
        "limit=0",
    ] {
        let path = format!("/stores/{}/stock?{query}", store.id);
        it.refused(reqwest::Method::GET, &path, None, 400, "Validation error")
            .await;
    }
}

#[rstest]
#[tokio::test]
async fn levels_come_by_pages(#[values(Embedded, Server)] on: Profile) {
    let it = Catalogue::start(on).await;
    let coat = it.simple("coat").await;
    let mut stores = Vec::new();
    for number in 0..5 {
        let store = it.app.register(&format!("shop-{number}")).await;
        it.stock(store, coat, number).await;
        stores.push(json!(store.id));
    }
    let found = all(&it, &format!("/products/{coat}/stock?limit=2")).await;
    let found: Vec<Value> = found.iter().map(|level| level["storeId"].clone()).collect();
    assert_eq!(found, stores);
}

/// All pages of a list.
async fn all(it: &Catalogue, path: &str) -> Vec<Value> {
    let mut found = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = it.get(&format!("{path}{cursor}")).await;
        found.extend(page["items"].as_array().unwrap().iter().cloned());
        match page["nextCursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return found,
        }
    }
}

/// Sets of the random catalogue, and components that they are made of.
const SETS: usize = 5500;
const COMPONENTS: usize = 1500;
/// Trendyol is told no more.
const CAP: i64 = 20_000;

/// Which components, and how many of each.
type Recipe = Vec<(usize, i64)>;

/// A random catalogue in one store.
#[derive(Default)]
struct Random {
    /// Of components; none: no row in the store.
    sellable: Vec<(Uuid, Option<i64>)>,
    /// What each set is made of, and what its marketplace is believed to show.
    sets: Vec<(Uuid, Recipe, Option<i64>)>,
}

impl Random {
    fn new(it: &Catalogue, dice: &mut Dice) -> Self {
        let new_id = || it.app.app.ids.new_id(it.app.clock.now());
        let mut random = Self::default();
        for _ in 0..COMPONENTS {
            let sellable = match dice.below(8) {
                0 => None,
                1 => Some(0),
                2 => Some(number(dice.below(8))),
                3 => Some(CAP + number(dice.below(200_000))),
                _ => Some(number(dice.below(500))),
            };
            random.sellable.push((new_id(), sellable));
        }
        for _ in 0..SETS {
            let mut items = HashMap::new();
            for _ in 0..dice.below(7) {
                items.insert(dice.below(COMPONENTS), number(1 + dice.below(12)));
            }
            let items: Vec<_> = items.into_iter().collect();
            let shown = match dice.below(3) {
                0 => None,
                1 => Some(number(dice.below(3))),
                _ => Some(random.effective(&items).min(CAP)),
            };
            random.sets.push((new_id(), items, shown));
        }
        random
    }

    /// What the database is to find out.
    fn effective(&self, items: &[(usize, i64)]) -> i64 {
        let makes = |(component, per_set): &(usize, i64)| {
            let sellable = self.sellable[*component].1.unwrap_or(0);
            let mut left = sellable;
            let mut sets = 0;
            while left >= *per_set {
                left -= per_set;
                sets += 1;
            }
            sets
        };
        items.iter().map(makes).min().unwrap_or(0)
    }

    async fn insert(&self, it: &Catalogue, store: StoreId) {
        let products = self.sellable.iter().map(|(id, _)| (id, "SIMPLE"));
        let products = products.chain(self.sets.iter().map(|(id, ..)| (id, "SET")));
        let products =
            products.map(|(id, kind)| format!("{}, 'org-1', 'p', '{kind}'", it.literal(*id)));
        it.insert(
            "products (id, organization_id, name, product_type",
            products,
        )
        .await;
        let items = self.sets.iter().flat_map(|(set, items, _)| {
            items.iter().map(|(component, quantity)| {
                let component = it.literal(self.sellable[*component].0);
                format!("{}, {component}, {quantity}", it.literal(*set))
            })
        });
        it.insert(
            "product_set_items (set_product_id, component_product_id, quantity",
            items,
        )
        .await;
        let of_components = self.sellable.iter().filter_map(|(id, sellable)| {
            let sellable = (*sellable)?;
            Some(format!(
                "{}, {}, {sellable}, NULL",
                it.literal(store.0),
                it.literal(*id)
            ))
        });
        let of_sets = self.sets.iter().map(|(id, _, shown)| {
            let shown = shown.map_or("NULL".to_owned(), |shown| shown.to_string());
            format!("{}, {}, 0, {shown}", it.literal(store.0), it.literal(*id))
        });
        it.insert(
            "product_stores (store_id, product_id, sellable_quantity, last_confirmed_quantity",
            of_components.chain(of_sets),
        )
        .await;
    }
}

fn number(of: usize) -> i64 {
    of.try_into().unwrap()
}

/// P1: over both databases 11,000 random sets, with 0 to 6 components that are missing, sold out,
/// scarce or more than any marketplace is told; every quantity, and what differs from what is
/// shown, is what counting them out by hand says.
#[rstest]
#[tokio::test]
async fn sets_are_as_many_as_counting_them_out_says(#[values(Embedded, Server)] on: Profile) {
    let it = Catalogue::start(on).await;
    let store = it.register_on("trendyol").await;
    let random = Random::new(&it, &mut Dice(if on == Embedded { 6 } else { 60 }));
    random.insert(&it, store.id).await;
    let mut expected: HashMap<Uuid, i64> = HashMap::new();
    let mut differing = BTreeSet::new();
    for (id, items, shown) in &random.sets {
        let effective = random.effective(items);
        expected.insert(*id, effective);
        if *shown != Some(effective.min(CAP)) {
            differing.insert(*id);
        }
    }
    for part in [0, 1, CAP + 1] {
        let some = expected.values().filter(|found| **found >= part).count();
        assert!(some > 20, "only {some} sets are at least {part}");
    }
    assert!(
        (1000..5000).contains(&differing.len()),
        "{}",
        differing.len()
    );

    let sets = format!("/stores/{}/stock?limit=500&productType=SET", store.id);
    let levels = all(&it, &sets).await;
    let found: HashMap<Uuid, i64> = levels
        .iter()
        .map(|level| {
            (
                id(&level["productId"]),
                level["effective"].as_i64().unwrap(),
            )
        })
        .collect();
    assert!(found == expected, "the quantities are others");
    let told_to_differ = |levels: &[Value]| -> BTreeSet<Uuid> {
        let differing = levels.iter().filter(|level| level["differing"] == true);
        differing.map(|level| id(&level["productId"])).collect()
    };
    assert!(told_to_differ(&levels) == differing, "others differ");
    let filtered = all(&it, &format!("{sets}&differing=true")).await;
    assert_eq!(filtered.len(), differing.len());
    assert!(
        told_to_differ(&filtered) == differing,
        "others are filtered"
    );
    let rest = all(&it, &format!("{sets}&differing=false")).await;
    assert_eq!(rest.len(), SETS - differing.len());

    // What a run of the store computes, a batch in one statement: what a resync takes differs.
    let path = format!("/stores/{}/stock-sync/resync?onlyDiffering=true", store.id);
    let (status, answer) = it.ask(reqwest::Method::POST, &path, None).await;
    assert_eq!(status, 202, "{answer}");
    it.app.run_jobs().await;
    let sets: BTreeSet<Uuid> = random.sets.iter().map(|(id, ..)| *id).collect();
    let enqueued = it
        .pending(store)
        .await
        .into_iter()
        .map(|row| row.product_id);
    let enqueued: BTreeSet<Uuid> = enqueued.filter(|id| sets.contains(id)).collect();
    assert!(enqueued == differing, "others are enqueued");
}
