//! The paths of lbd's admin HTTP.

use std::sync::Arc;

use axum::Router;
use axum::http::{HeaderName, header};
use axum::response::{Html, IntoResponse};
use axum::routing::get;
use daemon::page::CONTENT_SECURITY_POLICY;
use daemon::{admin, metrics};

use super::metrics::SampleCollector;
use super::{csv, json, page};
use crate::control::Control;

/// The page, the statistics as CSV and JSON, and what every daemon has.
///
/// # Errors
/// When a metric's name is taken twice or is none; a test keeps that from happening.
pub fn router(control: &Arc<Control>) -> prometheus::Result<Router> {
    let registry = metrics::registry("lbd")?;
    let sampled = control.clone();
    registry.register(Box::new(SampleCollector::new(move || sampled.sample())?))?;
    let ready = control.clone();
    let router =
        admin::router(move || metrics::encode(&registry), move || ready.ready(), &["/", "/;csv", "/;json"]);
    let (for_page, for_csv, for_json) = (control.clone(), control.clone(), control.clone());
    Ok(router
        .route("/", get(move || async move { stats_page(&for_page) }))
        .route(
            "/;csv",
            get(move || async move { (plain("text/plain; charset=utf-8"), csv::render(&for_csv.rows())) }),
        )
        .route(
            "/;json",
            get(move || async move { (plain("application/json"), json::render(&for_json.rows())) }),
        ))
}

fn stats_page(control: &Control) -> impl IntoResponse + use<> {
    let page = page::render(&control.info(), &control.rows(), control.healthd());
    ([(header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY)], Html(page))
}

fn plain(content_type: &'static str) -> [(HeaderName, &'static str); 1] {
    [(header::CONTENT_TYPE, content_type)]
}
