//! What is printed when `taskd up` has started.

use std::net::SocketAddr;

use super::super::parts;
use super::database::Database;
use super::{Args, demo};
use crate::cache::RedisUrl;
use crate::ground::secret::Secret;
use crate::ground::tls::Tls;
use crate::http::middleware::admission::Policy;

/// The text for the person who started it.
pub(super) fn panel(
    args: &Args,
    tls: &Tls,
    address: SocketAddr,
    policy: Policy,
    database: &Database,
    redis_url: Option<&RedisUrl>,
    token: Option<&Secret>,
) -> anyhow::Result<String> {
    let data = args.data_dir().display();
    let seam =
        |name: &str, what: String, variable: &str| format!("  {name:14} {what:44} {variable}\n");
    let database = match database.is_embedded() {
        true => format!("embedded PostgreSQL in {data}/postgres"),
        false => database.url().to_string(),
    };
    let cache = redis_url.map_or("memory of this process".to_owned(), RedisUrl::to_string);
    let mail = match args.mail.url(tls)? {
        Some(_) => args.mail.describe(tls)?,
        None => format!("{}/*.eml", args.mail.mail_dir.display()),
    };
    Ok(format!(
        "\n  taskd {version} on http://{address}\n\n\
         {console}\x20 API            http://{address}/tasks\n\
         \x20 documentation  http://{address}/docs\n\
         \x20 metrics        http://{address}/metrics\n{demo}\n\
         {database}{broker}{cache}{mail}\n\
         \x20 {access}\n{first}\n\
         \x20 Try it:\n\
         \x20   curl -X POST \"http://localhost:{port}/tasks\" -H \"Content-Type: application/json\" \\\n{bearer}\
         \x20     -d '{{ \"title\": \"Write Docs\", \"description\": \"Testing async\", \"status\": \"in-progress\", \"userId\": 1 }}'\n\n\
         \x20 Ctrl-C stops it.\n",
        version = env!("CARGO_PKG_VERSION"),
        console = match args.api.requests.console() {
            Some(_) => format!("\x20 console        http://{address}/console\n         "),
            None => String::new(),
        },
        demo = if args.demo { demo::panel(address, args.data_dir()) } else { String::new() },
        access = match policy.anybody {
            true =>
                "Anybody who reaches this address may do everything (TASKD_AUTH=none); only this machine does.",
            false =>
                "Requests need a token (TASKD_AUTH=tokens); `taskd token create --user EMAIL` makes one.",
        },
        first = token.map_or(String::new(), |token| format!(
            "\n  The first admin's token, shown this once:\n    {}\n",
            token.expose()
        )),
        bearer = match (policy.anybody, token) {
            (true, _) => String::new(),
            (false, token) => format!(
                "       -H \"Authorization: Bearer {}\" \\\n",
                token.map_or("TOKEN", Secret::expose)
            ),
        },
        port = address.port(),
        database = seam("database", database, "DATABASE_URL"),
        broker = seam("broker", parts::broker_name(&args.broker, tls)?, "RABBITMQ_URL"),
        cache = seam("cache", cache, "REDIS_URL"),
        mail = seam("mail", mail, "SMTP_URL"),
    ))
}
