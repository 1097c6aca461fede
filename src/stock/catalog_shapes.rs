//! What the routes of products take and give.

use poem_openapi::Object;
use poem_openapi::types::{Example, MaybeUndefined};
use uuid::Uuid;

use super::model::{Product, ProductId, ProductType};
use super::named::example_id;
use super::products::{Described, NewProduct, ProductChange, ProductFilter};
use super::queries::products::SetItem;
use crate::http::fields::{Fields, FromFields, code};
use crate::http::nullable::Nullable;
use crate::timestamp::Timestamp;

/// Components of a set, and further barcodes of a product.
const MAX_LIST: usize = 500;

/// A product to create.
#[derive(Debug, Object)]
#[oai(rename_all = "camelCase", example)]
pub(super) struct CreateProduct {
    /// Whose it is.
    #[oai(validator(min_length = 1, max_length = 255))]
    pub(super) organization_id: String,
    /// What people call it.
    #[oai(validator(min_length = 1, max_length = 500))]
    name: String,
    /// What the organization calls it; no other product of it has the same.
    #[oai(validator(min_length = 1, max_length = 255))]
    sku: Option<String>,
    /// What scanners and marketplaces call it; no other product of the organization has the same.
    #[oai(validator(min_length = 1, max_length = 255))]
    barcode: Option<String>,
    /// `SIMPLE`: it lies on a shelf; `SET`: it is made of others. For ever.
    product_type: ProductType,
}

impl Example for CreateProduct {
    fn example() -> Self {
        Self {
            organization_id: "org-1".to_owned(),
            name: "Scarf".to_owned(),
            sku: Some("SCARF-1".to_owned()),
            barcode: Some("8680000000017".to_owned()),
            product_type: ProductType::Simple,
        }
    }
}

impl FromFields for CreateProduct {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        let organization_id = fields.text("organizationId", 1..=255);
        let name = fields.text("name", 1..=500);
        let sku = fields.optional("sku", code_of);
        let barcode = fields.optional("barcode", code_of);
        let product_type = fields.one_of("productType", ProductType::NAMES);
        Some(Self {
            organization_id: organization_id?,
            name: name?,
            sku: sku?,
            barcode: barcode?,
            product_type: product_type?.parse().ok()?,
        })
    }
}

/// A SKU, a barcode, or what a marketplace has for a name.
pub(super) fn code_of(fields: &mut Fields<'_>, name: &str) -> Option<String> {
    fields.text(name, 1..=255)
}

impl From<CreateProduct> for NewProduct {
    fn from(product: CreateProduct) -> Self {
        Self {
            organization_id: product.organization_id,
            name: product.name,
            sku: product.sku,
            barcode: product.barcode,
            product_type: product.product_type,
        }
    }
}

/// What to change of a product; what is absent stays.
#[derive(Debug, Object)]
#[oai(rename_all = "camelCase", example)]
pub(super) struct UpdateProduct {
    /// What people call it.
    #[oai(validator(min_length = 1, max_length = 500))]
    name: Option<String>,
    /// What the organization calls it; null: nothing.
    #[oai(validator(min_length = 1, max_length = 255))]
    sku: MaybeUndefined<String>,
    /// What scanners and marketplaces call it; null: nothing.
    #[oai(validator(min_length = 1, max_length = 255))]
    barcode: MaybeUndefined<String>,
}

impl Example for UpdateProduct {
    fn example() -> Self {
        Self {
            name: Some("Scarf, red".to_owned()),
            sku: MaybeUndefined::Value("SCARF-1-RED".to_owned()),
            barcode: MaybeUndefined::Value("8680000000024".to_owned()),
        }
    }
}

impl FromFields for UpdateProduct {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        let name = fields.optional("name", |fields, name| fields.text(name, 1..=500));
        let sku = fields.change("sku", code_of);
        let barcode = fields.change("barcode", code_of);
        let keeps_type: Option<Option<()>> = fields.optional("productType", |fields, name| {
            fields.reject(name, code::INVALID_REQUEST, "It cannot be changed")
        });
        keeps_type?;
        Some(Self {
            name: name?,
            sku: sku?,
            barcode: barcode?,
        })
    }
}

impl From<UpdateProduct> for ProductChange {
    fn from(change: UpdateProduct) -> Self {
        Self {
            name: change.name,
            sku: change.sku,
            barcode: change.barcode,
        }
    }
}

/// A product.
#[derive(Debug, Object)]
#[oai(rename = "Product", rename_all = "camelCase")]
pub(super) struct ProductView {
    /// Its id.
    id: Uuid,
    /// Whose it is.
    organization_id: String,
    /// What people call it.
    name: String,
    /// What the organization calls it.
    sku: Nullable<String>,
    /// What scanners and marketplaces call it.
    barcode: Nullable<String>,
    /// What it is.
    product_type: ProductType,
    /// When it was created.
    created_at: Timestamp,
    /// When it was changed last.
    updated_at: Timestamp,
}

impl From<Product> for ProductView {
    fn from(product: Product) -> Self {
        Self {
            id: product.id.0,
            organization_id: product.organization_id,
            name: product.name,
            sku: product.sku.into(),
            barcode: product.barcode.into(),
            product_type: product.product_type,
            created_at: product.created_at.into(),
            updated_at: product.updated_at.into(),
        }
    }
}

/// A product, in full.
#[derive(Debug, Object)]
#[oai(rename_all = "camelCase")]
pub(super) struct ProductDetails {
    /// The product.
    #[oai(flatten)]
    product: ProductView,
    /// Further codes that orders may name it by; no marketplace is told them.
    barcodes: Vec<String>,
}

impl From<Described> for ProductDetails {
    fn from(described: Described) -> Self {
        Self {
            product: described.product.into(),
            barcodes: described.barcodes,
        }
    }
}

/// The further barcodes of a product.
#[derive(Debug, Object)]
#[oai(rename_all = "camelCase", example)]
pub(super) struct ReplaceBarcodes {
    /// All of them, each of 1 to 255 characters.
    #[oai(validator(max_items = 500))]
    pub(super) barcodes: Vec<String>,
}

impl Example for ReplaceBarcodes {
    fn example() -> Self {
        Self {
            barcodes: vec!["8680000000031".to_owned()],
        }
    }
}

impl FromFields for ReplaceBarcodes {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        let barcodes = fields.text_list("barcodes", 0..=MAX_LIST, 1..=255);
        Some(Self {
            barcodes: barcodes?,
        })
    }
}

/// A component of a set.
#[derive(Debug, Object)]
#[oai(rename = "SetItem", rename_all = "camelCase")]
pub(super) struct SetItemView {
    /// A simple product.
    component_product_id: Uuid,
    /// So many of it: 1 to 1,000,000.
    quantity: i64,
}

impl FromFields for SetItemView {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        let component_product_id = fields.uuid("componentProductId");
        // The domain says which quantities a set may have.
        let quantity = fields.integer("quantity", i64::MIN..=i64::MAX);
        Some(Self {
            component_product_id: component_product_id?,
            quantity: quantity?,
        })
    }
}

/// What a set is made of.
#[derive(Debug, Object)]
#[oai(example)]
pub(super) struct SetItems {
    /// Each component once.
    #[oai(validator(max_items = 500))]
    items: Vec<SetItemView>,
}

impl Example for SetItems {
    fn example() -> Self {
        let component_product_id = example_id().parse().unwrap_or_default();
        Self {
            items: vec![SetItemView {
                component_product_id,
                quantity: 2,
            }],
        }
    }
}

impl FromFields for SetItems {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        let items: Vec<SetItemView> =
            fields.objects("items", 0..=MAX_LIST, SetItemView::from_fields)?;
        let mut ids: Vec<Uuid> = items.iter().map(|item| item.component_product_id).collect();
        ids.sort_unstable();
        if ids.windows(2).any(|pair| pair[0] == pair[1]) {
            return fields.reject(
                "items",
                code::INVALID_REQUEST,
                "Expected each component once",
            );
        }
        Some(Self { items })
    }
}

impl From<SetItems> for Vec<SetItem> {
    fn from(items: SetItems) -> Self {
        let item = |item: SetItemView| SetItem {
            component_product_id: ProductId(item.component_product_id),
            quantity: item.quantity,
        };
        items.items.into_iter().map(item).collect()
    }
}

impl From<Vec<SetItem>> for SetItems {
    fn from(items: Vec<SetItem>) -> Self {
        let view = |item: SetItem| SetItemView {
            component_product_id: item.component_product_id.0,
            quantity: item.quantity,
        };
        Self {
            items: items.into_iter().map(view).collect(),
        }
    }
}

/// Reads which products are wanted.
pub(super) fn product_filter(fields: &mut Fields<'_>) -> Option<ProductFilter> {
    let barcode = fields.optional("barcode", code_of);
    let sku = fields.optional("sku", code_of);
    let product_type = fields.optional("productType", |fields, name| {
        fields.one_of(name, ProductType::NAMES)
    });
    let part = fields.optional("q", code_of);
    Some(ProductFilter {
        barcode: barcode?,
        sku: sku?,
        product_type: product_type?.map(str::parse).transpose().ok()?,
        part: part?,
    })
}
