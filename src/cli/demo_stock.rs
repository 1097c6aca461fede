//! `demo --stock`: two stores that share one warehouse, and how an order on one of them shows on
//! both marketplaces by itself.
//!
//! Everything is real but the marketplaces: the service serves on a database in a temporary
//! folder, and what the demo does it does over HTTP. The marketplaces are the mocks of
//! `mock-trendyol` and `mock-hepsiburada`, in this process, with their limits: Hepsiburada takes
//! one upload in ten seconds, so the demo lasts about half a minute.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::timeout;
use uuid::Uuid;

use super::client::{Client, id_in};
use super::output::{say, table};
use crate::admin::LogStream;
use crate::clock::Clock;
use crate::config::Settings;
use crate::marketplace::model::Marketplace;
use crate::service::{Roles, Service, signal};
use crate::stock::mock::hepsiburada::HepsiburadaRules;
use crate::stock::mock::trendyol::TrendyolRules;
use crate::stock::mock::{
    Catalogue, MockMarketplace, Operation, Options, Protocol, Received, Running,
};

/// Whose stores they are.
const ORGANIZATION: &str = "org-1";
/// The seller at Trendyol, the merchant at Hepsiburada.
const SELLERS: [&str; 2] = ["4321", "5b6c0f3e-0000-4000-8000-000000000001"];
/// Products, their SKU, which is their barcode, too, and how many lie on the shelf.
const PRODUCTS: [(&str, &str, i64); 3] = [
    ("Mont", "MONT-001", 50),
    ("Eldiven", "ELDIVEN-001", 30),
    ("Atkı", "ATKI-001", 40),
];
/// How many of each are in the set.
const IN_SET: [i64; 3] = [1, 2, 1];
const SET: &str = "SET-001";
/// What both marketplaces show at first, and when two sets are reserved.
const BEFORE: [(&str, i64); 4] = [
    ("MONT-001", 50),
    ("ELDIVEN-001", 30),
    ("ATKI-001", 40),
    (SET, 15),
];
const AFTER: [(&str, i64); 4] = [
    ("MONT-001", 48),
    ("ELDIVEN-001", 26),
    ("ATKI-001", 38),
    (SET, 13),
];
/// How long the marketplaces may take to show something.
const PATIENCE: Duration = Duration::from_secs(90);

/// A mock marketplace that listens, and the store on it.
struct Place {
    marketplace: Marketplace,
    seller: &'static str,
    mock: MockMarketplace,
    running: Running,
}

impl Place {
    async fn open(
        marketplace: Marketplace,
        seller: &'static str,
        rules: impl Protocol,
    ) -> Result<Self> {
        let options = Options {
            catalogue: Catalogue::of(BEFORE.map(|(sku, _)| sku)),
            ..Options::default()
        };
        let mock = MockMarketplace::new(rules, options, Clock::system());
        let running = mock
            .serve(0)
            .await
            .context("a mock marketplace cannot listen")?;
        Ok(Self {
            marketplace,
            seller,
            mock,
            running,
        })
    }

    fn shown(&self) -> Vec<Option<i64>> {
        BEFORE
            .iter()
            .map(|(sku, _)| self.mock.quantity(self.seller, sku))
            .collect()
    }

    /// Waits until it shows all of these.
    async fn shows(&self, quantities: &[(&str, i64)]) -> Result<()> {
        let all = self.mock.wait_until(|world| {
            let is_shown =
                |(sku, quantity): &(&str, i64)| world.quantity(self.seller, sku) == Some(*quantity);
            quantities.iter().all(is_shown)
        });
        timeout(PATIENCE, all).await.map_err(|_| {
            anyhow!(
                "{} shows {:?} after {} seconds",
                self.marketplace,
                self.shown(),
                PATIENCE.as_secs()
            )
        })
    }
}

/// Runs the demo; with `exit` it leaves when everything was shown.
pub(super) async fn run(mut settings: Settings, logs: LogStream, exit: bool) -> Result<ExitCode> {
    let places = [
        Place::open(Marketplace::Trendyol, SELLERS[0], TrendyolRules::default()).await?,
        Place::open(
            Marketplace::Hepsiburada,
            SELLERS[1],
            HepsiburadaRules::default(),
        )
        .await?,
    ];
    for place in &places {
        let url = place.running.base_url();
        settings.stock.base_urls.insert(place.marketplace, url);
    }
    // Nobody wants to wait for the next minute.
    "* * * * * *".clone_into(&mut settings.stock.cron);
    "* * * * * *".clone_into(&mut settings.stock.confirm_cron);
    let service = Service::start(settings, &Roles::all(), logs).await?;
    let shown = tokio::select! {
        shown = show(&service, &places) => shown,
        () = signal() => Err(anyhow!("the demo was ended before it had shown everything")),
    };
    if exit || shown.is_err() {
        service.stop().await;
    } else {
        say("\nThe demo stays up; Ctrl-C ends it.");
        service.run_until_signal().await?;
    }
    shown?;
    Ok(ExitCode::SUCCESS)
}

async fn show(service: &Service, places: &[Place; 2]) -> Result<()> {
    let public = service.public.context("the demo serves the API")?;
    let api = Api(Client::new(&format!("http://{public}"), None)?);
    say(&format!("Swagger UI   http://{public}/docs"));
    for place in places {
        say(&format!(
            "{:<12} {}__mock/state",
            place.marketplace,
            place.running.base_url()
        ));
    }
    let products = api.create_products().await?;
    let mut stores = Vec::new();
    for place in places {
        let store = api.create_store(place).await?;
        for product in &products {
            api.list(store, *product).await?;
        }
        stores.push(store);
    }
    api.fill_warehouse(&stores, &products).await?;
    say(&format!(
        "\nTwo stores share one warehouse: {}.\n{SET} is made of 1 Mont, 2 Eldiven and 1 Atkı.",
        PRODUCTS
            .map(|(name, _, quantity)| format!("{quantity} {name}"))
            .join(", ")
    ));
    for store in &stores {
        api.go_live(*store).await?;
    }
    say("Both stores are live now; waiting for the marketplaces to show what there is …\n");
    for place in places {
        place.shows(&BEFORE).await?;
    }
    print_quantities(&BEFORE, places);
    let order = api.reserve(stores[0], 2).await?;
    say(&format!(
        "\nReserved 2 × {SET} for an order on {}: {order}",
        places[0].marketplace
    ));
    say("Waiting for both marketplaces to show less …\n");
    for place in places {
        place.shows(&AFTER).await?;
    }
    print_quantities(&AFTER, places);
    say("");
    print_requests(places);
    let logged = api.logged_updates().await?;
    say(&format!(
        "\nGET /api-logs?type=UPDATE_STOCK has {logged} requests."
    ));
    if logged < 4 {
        bail!("each marketplace was told twice, but only {logged} requests are logged");
    }
    Ok(())
}

fn print_quantities(expected: &[(&str, i64); 4], places: &[Place; 2]) {
    let mut rows = vec![["product", "can be sold", "trendyol", "hepsiburada"].map(str::to_owned)];
    for (place, (sku, quantity)) in expected.iter().enumerate() {
        let shown =
            |at: &Place| at.shown()[place].map_or_else(|| "?".to_owned(), |it| it.to_string());
        rows.push([
            (*sku).to_owned(),
            quantity.to_string(),
            shown(&places[0]),
            shown(&places[1]),
        ]);
    }
    say(&table(&rows));
}

/// What the marketplaces were told, in the order they were.
fn print_requests(places: &[Place; 2]) {
    let mut told: Vec<(Marketplace, Received)> = places
        .iter()
        .flat_map(|place| {
            place
                .mock
                .requests()
                .into_iter()
                .map(|it| (place.marketplace, it))
        })
        .filter(|(_, request)| request.operation == Some(Operation::Send))
        .collect();
    told.sort_by_key(|(_, request)| request.received_at);
    let mut rows = vec![["told at", "marketplace", "quantities", "answered"].map(str::to_owned)];
    for (marketplace, request) in told {
        rows.push([
            request.received_at.to_string(),
            marketplace.to_string(),
            quantities(&request.json()),
            request
                .status
                .map_or_else(|| "nothing".to_owned(), |status| status.to_string()),
        ]);
    }
    say(&table(&rows));
}

/// The items of a body, of either marketplace.
fn quantities(body: &Value) -> String {
    let items = body["items"].as_array().or(body.as_array());
    let item = |item: &Value| {
        let name = item["barcode"].as_str().or(item["merchantSku"].as_str());
        let quantity = item["quantity"]
            .as_i64()
            .or(item["availableStock"].as_i64());
        format!("{} {}", name.unwrap_or("?"), quantity.unwrap_or_default())
    };
    items
        .into_iter()
        .flatten()
        .map(item)
        .collect::<Vec<_>>()
        .join(", ")
}

/// What the demo asks of the API.
struct Api(Client);

impl Api {
    /// The simple products and, at the end, the set that they make.
    async fn create_products(&self) -> Result<Vec<Uuid>> {
        let mut products = Vec::new();
        for (name, sku, _) in PRODUCTS {
            products.push(self.create_product(name, sku, "SIMPLE").await?);
        }
        let set = self.create_product("Kış seti", SET, "SET").await?;
        let items: Vec<Value> = products.iter().zip(IN_SET)
            .map(|(product, quantity)| json!({ "componentProductId": product, "quantity": quantity }))
            .collect();
        self.ask(
            Method::PUT,
            &format!("/products/{set}/set-items"),
            &json!({ "items": items }),
        )
        .await?;
        products.push(set);
        Ok(products)
    }

    async fn create_product(&self, name: &str, sku: &str, product_type: &str) -> Result<Uuid> {
        let product = json!({
            "organizationId": ORGANIZATION, "name": name, "sku": sku, "barcode": sku,
            "productType": product_type,
        });
        id_in(&self.ask(Method::POST, "/products", &product).await?, "id")
    }

    /// A store that has credentials, and whose quantities come from warehouses.
    async fn create_store(&self, place: &Place) -> Result<Uuid> {
        let store = json!({
            "organizationId": ORGANIZATION,
            "marketplace": place.marketplace,
            "externalStoreId": place.seller,
            "storeName": format!("Our shop on {}", place.marketplace),
            "accessToken": "unused",
            "currency": "TRY",
        });
        let store = self.ask(Method::POST, "/stores/register", &store).await?;
        let store = id_in(&store, "storeId")?;
        self.set(store, &json!({ "stockSource": "WAREHOUSE", "apiKey": "demo-key", "apiSecret": "demo-secret" })).await?;
        Ok(store)
    }

    async fn go_live(&self, store: Uuid) -> Result<()> {
        self.set(
            store,
            &json!({ "isActive": true, "sendStock": true, "stockPushMode": "LIVE" }),
        )
        .await
    }

    async fn set(&self, store: Uuid, change: &Value) -> Result<()> {
        self.ask(
            Method::PATCH,
            &format!("/stores/{store}/stock-settings"),
            change,
        )
        .await?;
        Ok(())
    }

    async fn list(&self, store: Uuid, product: Uuid) -> Result<()> {
        let path = format!("/stores/{store}/products/{product}");
        self.ask(Method::PUT, &path, &json!({ "isListed": true }))
            .await?;
        Ok(())
    }

    /// One warehouse of all stores, with everything on one shelf.
    async fn fill_warehouse(&self, stores: &[Uuid], products: &[Uuid]) -> Result<()> {
        let warehouse =
            json!({ "organizationId": ORGANIZATION, "name": "İstanbul", "code": "IST" });
        let warehouse = self.ask(Method::POST, "/warehouses", &warehouse).await?;
        let warehouse = id_in(&warehouse, "id")?;
        let path = format!("/warehouses/{warehouse}/stores");
        self.ask(Method::PUT, &path, &json!({ "storeIds": stores }))
            .await?;
        let path = format!("/warehouses/{warehouse}/shelves");
        let code = json!({ "code": "A-01" });
        let made = self.ask(Method::POST, &path, &code).await?;
        let place = id_in(&made, "id")?;
        for (product, (_, _, quantity)) in products.iter().zip(PRODUCTS) {
            let path = format!("/shelves/{place}/stock/add");
            let units = json!({ "productId": product, "quantity": quantity });
            self.ask(Method::POST, &path, &units).await?;
        }
        Ok(())
    }

    /// Reserves sets for an order; tells what was taken for it.
    async fn reserve(&self, store: Uuid, sets: i64) -> Result<String> {
        let order = json!({
            "orderRef": "TY-10001", "mode": "STRICT", "lines": [{ "barcode": SET, "quantity": sets }],
        });
        let reservation = self
            .ask(
                Method::POST,
                &format!("/stores/{store}/reservations"),
                &order,
            )
            .await?;
        let items = reservation["items"]
            .as_array()
            .context("a reservation has items")?;
        let mut taken: Vec<i64> = items
            .iter()
            .filter_map(|item| item["reserved"].as_i64())
            .collect();
        taken.sort_unstable();
        let mut expected = IN_SET.map(|quantity| quantity * sets);
        expected.sort_unstable();
        if taken != expected {
            bail!("the reservation is {reservation}");
        }
        Ok(format!(
            "{} units of {} products",
            taken.iter().sum::<i64>(),
            taken.len()
        ))
    }

    /// How many requests that told quantities are in the log.
    async fn logged_updates(&self) -> Result<usize> {
        let page = self
            .ask(
                Method::GET,
                "/api-logs?type=UPDATE_STOCK&isSuccess=true&limit=100",
                &Value::Null,
            )
            .await?;
        let items = page["items"].as_array().context("the log is a list")?;
        Ok(items.len())
    }

    /// Asks for the organization, and wants a good answer.
    async fn ask(&self, method: Method, path: &str, body: &Value) -> Result<Value> {
        let mark = if path.contains('?') { '&' } else { '?' };
        let path = format!("{path}{mark}organizationId={ORGANIZATION}");
        let (status, answer) = self.0.request(method, &path, body).await?;
        if !status.is_success() {
            bail!("{path} answered {status}: {answer}");
        }
        Ok(answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quantities_of_either_marketplace_are_shown_alike() {
        let trendyol = json!({ "items": [{ "barcode": "A", "quantity": 5 }, { "barcode": "B", "quantity": 0 }] });
        let hepsiburada = json!([{ "merchantSku": "A", "availableStock": 5 }, { "merchantSku": "B", "availableStock": 0 }]);
        assert_eq!(quantities(&trendyol), "A 5, B 0");
        assert_eq!(quantities(&hepsiburada), "A 5, B 0");
        assert_eq!(quantities(&json!({ "items": [{}] })), "? 0");
    }

    #[test]
    fn what_is_expected_follows_from_what_there_is() {
        let make = |taken: i64| {
            let left = |place: usize| PRODUCTS[place].2 - IN_SET[place] * taken;
            let sets = (0..3)
                .map(|place| left(place) / IN_SET[place])
                .min()
                .unwrap();
            let simple = [0, 1, 2].map(|place| (PRODUCTS[place].1, left(place)));
            [simple[0], simple[1], simple[2], (SET, sets)]
        };
        assert_eq!(make(0), BEFORE);
        assert_eq!(make(2), AFTER);
    }
}
