//! What each batch of a run costs before its request: the rows that are due, the quantities; and
//! what each change of stock costs, which enqueues a component with its sets.

use anyhow::Result;
use jobs::StoreId;
use serde_json::json;
use tokio::time::Instant;

use super::super::place::Place;
use super::super::report::{Report, Round};
use super::seed::Merchant;
use crate::App;
use crate::ids::split_mix;
use crate::stock::model::{ProductId, Reason};
use crate::stock::{due_rows, enqueue, pairs};

/// Rows, and products, at once.
const BATCH: usize = 1000;
/// How often each is done in a round.
const TIMES: usize = 20;

/// Looks at the queue of all stores while everything waits in it.
pub(super) async fn measure(
    app: &App,
    place: &Place,
    merchant: &Merchant,
    rounds: usize,
) -> Result<Report> {
    let (mut claims, mut mixed, mut sets) = (Vec::new(), Vec::new(), Vec::new());
    let mut enqueued = Vec::new();
    let mut chance = 1;
    // The first is not counted: plans are made, pages are read.
    for round in 0..=rounds {
        let (mut of_claims, mut of_mixed, mut of_sets) = (Vec::new(), Vec::new(), Vec::new());
        let mut of_enqueued = Vec::new();
        for time in 0..TIMES {
            let store_id = merchant.shops[time % merchant.shops.len()].id;
            let started = Instant::now();
            claim(app, store_id).await?;
            of_claims.push(started.elapsed());
            let any = some(merchant, &mut chance, 1);
            let started = Instant::now();
            compute(app, store_id, &any).await?;
            of_mixed.push(started.elapsed());
            let only_sets = some(merchant, &mut chance, 10);
            let started = Instant::now();
            compute(app, store_id, &only_sets).await?;
            of_sets.push(started.elapsed());
            let component =
                merchant.product(split_mix(&mut chance) % merchant.hundreds() * 100 + 5);
            let started = Instant::now();
            change(app, store_id, component).await?;
            of_enqueued.push(started.elapsed());
        }
        if round > 0 {
            claims.push(Round::from(of_claims));
            mixed.push(Round::from(of_mixed));
            sets.push(Round::from(of_sets));
            enqueued.push(Round::from(of_enqueued));
        }
    }
    let setup = json!({
        "pending": merchant.products * merchant.shops.len() as u64,
        "stores": merchant.shops.len(),
        "rowsAtOnce": BATCH,
        "setsOfAComponent": 10,
    });
    let measured = vec![
        ("due rows taken", claims),
        ("quantities computed", mixed),
        ("quantities of sets computed", sets),
        ("component enqueued with its sets", enqueued),
    ];
    Ok(Report::new(
        "stock-lookups",
        place.profile(),
        setup,
        measured,
    ))
}

async fn claim(app: &App, store_id: StoreId) -> Result<()> {
    let limit = i64::try_from(BATCH)?;
    let mut tx = app.db.read().await?;
    due_rows(&mut tx, store_id, 0, app.clock.now(), limit).await?;
    tx.save().await?;
    Ok(())
}

async fn compute(app: &App, store_id: StoreId, products: &[ProductId]) -> Result<()> {
    let mut tx = app.db.read().await?;
    pairs(&mut tx, store_id, products).await?;
    tx.save().await?;
    Ok(())
}

async fn change(app: &App, store_id: StoreId, component: ProductId) -> Result<()> {
    let now = app.clock.now();
    let mut tx = app.db.write().await?;
    enqueue(
        &mut tx,
        store_id,
        &[component],
        Reason::StockAdded,
        false,
        now,
    )
    .await?;
    tx.save().await?;
    Ok(())
}

/// Products whose numbers are multiples of `every`, anywhere; none twice.
fn some(merchant: &Merchant, chance: &mut u64, every: u64) -> Vec<ProductId> {
    let all = merchant.products / every;
    let wanted = u64::try_from(BATCH).unwrap_or(u64::MAX).min(all);
    let first = split_mix(chance) % all.max(1);
    // A stride that is no divisor of anything.
    let number = |place: u64| ((first + place * 7919) % all + 1) * every;
    (0..wanted)
        .map(|place| merchant.product(number(place)))
        .collect()
}
