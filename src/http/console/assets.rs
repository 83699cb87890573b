//! The files that pages load. They are in the program, packed once, and their addresses have a hash
//! of what is in them, so a browser keeps them for as long as it likes.

use std::io::Write;
use std::sync::LazyLock;

use actix_web::http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, VARY,
};
use actix_web::web::{Bytes, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest, Sha256};

use super::ROOT;
use super::addresses::page;
use super::problem::Problem;

/// A year: the longest that caches care for.
const FOR_GOOD: &str = "public, max-age=31536000, immutable";

struct Asset {
    name: &'static str,
    media_type: &'static str,
    plain: &'static [u8],
    packed: Bytes,
    /// The address, with the hash.
    link: String,
}

static ASSETS: LazyLock<Vec<Asset>> = LazyLock::new(|| {
    const SCRIPT: &str = "text/javascript; charset=utf-8";
    vec![
        asset("htmx.min.js", SCRIPT, include_bytes!("assets/htmx.min.js")),
        asset("console.js", SCRIPT, include_bytes!("assets/console.js")),
        asset("console.css", "text/css; charset=utf-8", include_bytes!("assets/console.css")),
        asset("icon.svg", "image/svg+xml", include_bytes!("assets/icon.svg")),
    ]
});

fn asset(name: &'static str, media_type: &'static str, plain: &'static [u8]) -> Asset {
    let mut packer = GzEncoder::new(Vec::new(), Compression::best());
    // Memory takes everything.
    let packed = packer.write_all(plain).and_then(|()| packer.finish()).unwrap_or_default();
    let hash = Sha256::digest(plain);
    let hash: String = hash.iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    let link = format!("{ROOT}/assets/{name}?v={hash}");
    Asset { name, media_type, plain, packed: packed.into(), link }
}

/// The address of a file.
pub(super) fn link(name: &str) -> &'static str {
    ASSETS.iter().find(|asset| asset.name == name).map_or("", |asset| &asset.link)
}

pub(super) fn routes(config: &mut ServiceConfig) {
    config.service(page("/assets/{name}", file));
}

async fn file(request: HttpRequest) -> Result<HttpResponse, Problem> {
    let name = request.match_info().query("name");
    let asset = ASSETS.iter().find(|asset| asset.name == name).ok_or_else(Problem::missing)?;
    let accepted = request.headers().get(ACCEPT_ENCODING).and_then(|value| value.to_str().ok());
    let takes_packed = accepted.is_some_and(|value| value.contains("gzip"));
    let mut response = HttpResponse::Ok();
    response
        .insert_header((CONTENT_TYPE, asset.media_type))
        .insert_header((VARY, "Accept-Encoding"));
    let current = request.uri().path_and_query().is_some_and(|it| it.as_str() == asset.link);
    response.insert_header((CACHE_CONTROL, if current { FOR_GOOD } else { "no-cache" }));
    if takes_packed && !asset.packed.is_empty() {
        return Ok(response.insert_header((CONTENT_ENCODING, "gzip")).body(asset.packed.clone()));
    }
    Ok(response.body(asset.plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What pages may load in all, packed, in bytes.
    const MOST: usize = 60_000;

    #[test]
    fn all_files_together_are_small() {
        let bytes: usize = ASSETS.iter().map(|asset| asset.packed.len()).sum();
        assert!(bytes > 10_000 && bytes <= MOST, "{bytes}");
    }
}
