//! `/categories`.

use serde_json::{Value, json};

use taskd_testing::World;

#[tokio::test(flavor = "multi_thread")]
async fn a_category_is_made_read_renamed_and_deleted() {
    let world = World::embedded();
    let serve = world.serve().await;
    let api = serve.api();
    let answer = api.post("/categories", json!({ "name": "Docs" })).await;
    assert_eq!(answer.header("location"), "/categories/1");
    let category = answer.expect(201);
    let at = category["createdAt"].clone();
    let wanted = json!({ "id": 1, "name": "Docs", "createdAt": at, "updatedAt": at });
    assert_eq!(category, wanted);
    assert_eq!(api.get("/categories/1").await.expect(200), wanted);
    let page = api.get("/categories?total=true").await.expect(200);
    assert_eq!(page, json!({ "data": [wanted], "nextCursor": null, "total": 1 }));
    assert_eq!(api.patch("/categories/1", json!({})).await.expect(200), wanted);
    let renamed = api.patch("/categories/1", json!({ "name": "Texts" })).await.expect(200);
    assert_eq!((&renamed["name"], &renamed["createdAt"]), (&json!("Texts"), &at));
    assert_eq!(
        api.patch("/categories/1", json!({ "name": null })).await.code(400),
        "validation_failed"
    );
    assert_eq!(api.delete("/categories/1").await.status, 204);
    for answer in [
        api.get("/categories/1").await,
        api.delete("/categories/1").await,
        api.patch("/categories/1", json!({})).await,
        api.patch("/categories/1", json!({ "name": "x" })).await,
    ] {
        assert_eq!(answer.code(404), "not_found");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_categorys_name_is_unique() {
    let world = World::embedded();
    let serve = world.serve().await;
    let api = serve.api();
    for name in ["a", "b", "A"] {
        api.post("/categories", json!({ "name": name })).await.expect(201);
    }
    assert_eq!(
        api.post("/categories", json!({ "name": "a" })).await.code(409),
        "category_name_taken"
    );
    assert_eq!(
        api.patch("/categories/2", json!({ "name": "a" })).await.code(409),
        "category_name_taken"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn deleting_a_category_leaves_its_tasks_without_one_and_says_so() {
    let world = World::embedded();
    let serve = world.serve().await;
    let api = serve.api();
    api.post("/categories", json!({ "name": "c" })).await.expect(201);
    let input = json!({ "title": "t", "userId": 1, "categoryId": 1 });
    api.post("/tasks", input).await.expect(201);
    assert_eq!(
        api.get("/tasks?categoryId=1").await.expect(200)["data"].as_array().unwrap().len(),
        1
    );
    assert_eq!(api.delete("/categories/1").await.status, 204);

    let task = api.get("/tasks/1").await.expect(200);
    assert_eq!((&task["categoryId"], &task["userId"]), (&Value::Null, &json!(1)));
    assert_eq!(api.get("/tasks?categoryId=1").await.expect(200)["data"], json!([]));
    let events = api.events().await;
    assert_eq!(events.len(), 2);
    assert_eq!(events[1]["payload"]["changes"], json!({ "categoryId": { "from": 1, "to": null } }));
}
