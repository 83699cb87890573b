//! Lists: warm, beside a server that answers the same bytes without looking; cold, beside the same SQL.

use std::net::SocketAddr;

use actix_web::{App, HttpResponse, HttpServer, web};
use taskd::cache::BAR;

use crate::Size;
use crate::report::{Reading, Target};
use crate::system::Program;
use crate::tools::{pgbench, wrk};
use taskd_testing::World;

const CLIENTS: usize = 50;
/// Rows of the table that cold lists are read from.
const TASKS: i64 = 100_000;

/// Tasks that are due a minute apart.
pub async fn fill_tasks(world: &World, count: i64) {
    let db = world.db().await;
    db.run(&format!(
        "INSERT INTO tasks (title, description, status, user_id, version, created_at, updated_at, due_at)
         SELECT 'Write Docs ' || n, 'Testing async', (ARRAY['pending', 'in-progress', 'completed'])[n % 3 + 1],
                1, 1, now() - n * interval '1 s', now() - n * interval '1 s',
                timestamptz '2027-01-01 00:00:00Z' + n * interval '1 minute'
         FROM generate_series(1, {count}) AS n"
    ))
    .await;
    db.run("VACUUM ANALYZE tasks").await;
}

/// The default page, again and again.
pub async fn warm(size: Size) -> Vec<Reading> {
    let world = World::new().await;
    fill_tasks(&world, 1_000).await;
    let serve = Program::start(&world, &["serve"], &[], "serving").await;
    let body = serve.api().get("/tasks").await.text;
    // A cache that is new fills nothing for so long.
    tokio::time::sleep(BAR).await;
    let url = format!("{}/tasks", serve.api().base);
    let load = wrk(&world.directory, &url, "", CLIENTS, size.seconds()).await;
    let memory = serve.memory();
    drop(serve);
    let limit = {
        let address = static_server(body).await;
        wrk(&world.directory, &format!("http://{address}/"), "", CLIENTS, size.seconds()).await
    };
    vec![
        Reading::new("pages a second", load.rate, Target::OfLimit(0.5)).beside(limit.rate),
        Reading::new("99 of 100 answers within, ms", load.p99, Target::None).beside(limit.p99),
        Reading::new("memory of serve at most, MB", memory.peak, Target::AtMost(60.0)),
    ]
}

/// Where the same bytes are answered to whatever is asked, until this program ends.
async fn static_server(body: String) -> SocketAddr {
    let server = HttpServer::new(move || {
        let body = web::Bytes::from(body.clone());
        App::new().default_service(web::to(move || {
            let body = body.clone();
            async move { HttpResponse::Ok().content_type("application/json").body(body) }
        }))
    });
    let server = server.disable_signals().bind("127.0.0.1:0").unwrap();
    let address = server.addrs()[0];
    tokio::spawn(server.run());
    address
}

/// Pages of which each begins elsewhere, so that none is in the cache.
pub async fn cold(size: Size) -> Vec<Reading> {
    /// Each request a second that no other has, spread over the minutes in which tasks are due.
    const ELSEWHERE: &str = r#"
local threads = 0
function setup(thread) thread:set("number", threads); threads = threads + 1 end
local n = 0
function request()
    n = n + 1
    local second = ((2 * n + number) * 7919) % 5990000
    local at = os.date("!%Y-%m-%dT%H:%M:%SZ", 1798761600 + second)
    return wrk.format("GET", "/tasks?sort=dueAt&dueAfter=" .. at)
end
"#;
    /// The same question as one would write it; PostgreSQL plans it for each second.
    const QUESTION: &str = "coalesce(due_at, 'infinity'::timestamptz) > $second
  AND coalesce(due_at, 'infinity'::timestamptz) < 'infinity'";
    /// The statement of `store::task_list::stretch`; it is planned once.
    const STATEMENT: &str =
        "(coalesce(due_at, 'infinity'::timestamptz), id) > ($second, 9223372036854775807)
  AND (coalesce(due_at, 'infinity'::timestamptz), id) < ('infinity'::timestamptz, 0)";
    let sql = |condition: &str| {
        let second = "timestamptz '2027-01-01 00:00:00Z' + :second * interval '1 s'";
        format!(
            r"\set second random(0, 5990000)
SELECT id, title, description, status, user_id, category_id, due_at, version, created_at, updated_at, completed_at
FROM tasks
WHERE {}
ORDER BY coalesce(due_at, 'infinity'::timestamptz), id LIMIT 21;
",
            condition.replace("$second", second)
        )
    };
    let world = World::new().await;
    fill_tasks(&world, TASKS).await;
    let (directory, database) = (&world.directory, world.database_url());
    let question = pgbench(directory, database, &sql(QUESTION), CLIENTS, size.seconds()).await;
    let statement = pgbench(directory, database, &sql(STATEMENT), CLIENTS, size.seconds()).await;
    let serve = Program::start(&world, &["serve"], &[], "serving").await;
    let url = serve.api().base;
    let load = wrk(&world.directory, &url, ELSEWHERE, CLIENTS, size.seconds()).await;
    vec![
        Reading::new("pages a second", load.rate, Target::OfLimit(0.7)).beside(statement.rate),
        Reading::new("the same, beside plain SQL", load.rate, Target::None).beside(question.rate),
        Reading::new("99 of 100 answers within, ms", load.p99, Target::None).beside(statement.p99),
        Reading::new("memory of serve at most, MB", serve.memory().peak, Target::AtMost(60.0)),
    ]
}
