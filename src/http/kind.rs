//! Every kind of problem there is, in one list: codes are wire format.

use poem::http::StatusCode;

/// What went wrong, as a kind: the stable code, its status and its title. Wire format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    /// Stable and listed in [`KINDS`]; `type` is `/problems/{code}`.
    pub code: &'static str,
    /// The HTTP status.
    pub status: StatusCode,
    /// The same words for every occurrence.
    pub title: &'static str,
}

macro_rules! kinds {
    ($($name:ident = $code:literal, $status:ident, $title:literal;)*) => {
        $(
            #[doc = concat!("`", $code, "`: ", $title, ".")]
            pub const $name: Kind = Kind { code: $code, status: StatusCode::$status, title: $title };
        )*
        /// Every kind of problem there is.
        pub const KINDS: &[Kind] = &[$($name),*];
    };
}

kinds! {
    VALIDATION_ERROR = "validation_error", BAD_REQUEST, "The request is not valid";
    UNAUTHORIZED = "unauthorized", UNAUTHORIZED, "A valid API key is needed";
    FORBIDDEN = "forbidden", FORBIDDEN, "The API key may not do this";
    NOT_FOUND = "not_found", NOT_FOUND, "There is no such thing";
    METHOD_NOT_ALLOWED = "method_not_allowed", METHOD_NOT_ALLOWED, "The path does not have this method";
    REQUEST_TIMEOUT = "request_timeout", REQUEST_TIMEOUT, "The request did not arrive in time";
    CONFLICT = "conflict", CONFLICT, "The request does not fit the present state";
    IMPORT_IN_PROGRESS = "import_in_progress", CONFLICT, "The receipt is being imported";
    WEBHOOK_LIMIT_REACHED = "webhook_limit_reached", CONFLICT, "The organization has all the webhooks it may have";
    IDEMPOTENCY_KEY_IN_USE = "idempotency_key_in_use", CONFLICT, "A request with this key is running";
    BARCODE_TAKEN = "barcode_taken", CONFLICT, "Another product has the barcode";
    SKU_TAKEN = "sku_taken", CONFLICT, "Another product has the SKU";
    INSUFFICIENT_STOCK = "insufficient_stock", CONFLICT, "There is not enough of a product";
    INSUFFICIENT_SHELF_STOCK = "insufficient_shelf_stock", CONFLICT, "There is not enough of a product on the shelf";
    RESERVATION_CONFLICT = "reservation_conflict", CONFLICT, "The order was reserved with other lines";
    RESERVATION_CLOSED = "reservation_closed", CONFLICT, "The reservation is closed";
    STORE_IS_WAREHOUSE_BACKED = "store_is_warehouse_backed", CONFLICT, "The quantities of the store come from its warehouses";
    STORE_NOT_ELIGIBLE = "store_not_eligible", CONFLICT, "Nothing can be pushed to the store";
    CODE_TAKEN = "code_taken", CONFLICT, "The code is taken";
    PAYLOAD_TOO_LARGE = "payload_too_large", PAYLOAD_TOO_LARGE, "The body is too large";
    URI_TOO_LONG = "uri_too_long", URI_TOO_LONG, "The address is too long";
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type", UNSUPPORTED_MEDIA_TYPE, "The body is not JSON";
    IDEMPOTENCY_KEY_REUSED = "idempotency_key_reused", UNPROCESSABLE_ENTITY, "The key was used for another request";
    NOT_A_SET = "not_a_set", UNPROCESSABLE_ENTITY, "The product is no set";
    NESTED_SET_NOT_ALLOWED = "nested_set_not_allowed", UNPROCESSABLE_ENTITY, "A set cannot be made of sets";
    INVALID_QUANTITY = "invalid_quantity", UNPROCESSABLE_ENTITY, "The quantity is out of range";
    UNMATCHED_LINES = "unmatched_lines", UNPROCESSABLE_ENTITY, "Lines of the order name no product";
    SET_STOCK_IS_DERIVED = "set_stock_is_derived", UNPROCESSABLE_ENTITY, "The quantity of a set comes from its components";
    RATE_LIMITED = "rate_limited", TOO_MANY_REQUESTS, "Too many requests";
    HEADERS_TOO_LARGE = "headers_too_large", REQUEST_HEADER_FIELDS_TOO_LARGE, "The headers are too large";
    INTERNAL_SERVER_ERROR = "internal_server_error", INTERNAL_SERVER_ERROR, "Internal server error";
    OVERLOADED = "overloaded", SERVICE_UNAVAILABLE, "Too many requests are at work";
    SERVICE_UNAVAILABLE = "service_unavailable", SERVICE_UNAVAILABLE, "The service cannot answer now";
}
