//! `/v1/recipes`: the kinds of source that a job can have, and what each needs to know.

use axum::Json;
use holdfast_shared::domain::recipe::{FieldDefinition, RECIPES, RecipeDefinition};
use http::StatusCode;
use serde_json::{Value, json};

use super::answers::data;
use crate::http::schema::{self, Schema, anything, boolean, id, named, object, required, text};
use crate::http::{Caller, Operation};

/// Every call.
pub(super) fn operations() -> Vec<Operation> {
    let list =
        Operation::get("/v1/recipes", list).summary("List recipes: the kinds of source, and what each needs to know");
    vec![list.answers(StatusCode::OK, object([required("data", schema::list(named("Recipe")))]))]
}

/// The forms of what its answers show.
pub(super) fn schemas() -> Vec<(&'static str, Schema)> {
    let field = object([
        required("key", text()),
        required("label", text()),
        required("type", text()),
        required("required", boolean()),
        required("default", anything()),
    ]);
    let recipe = object([
        required("id", id()),
        required("recipe", text()),
        required("name", text()),
        required("fields", schema::list(field)),
    ]);
    vec![("Recipe", recipe)]
}

pub(super) async fn list(_: Caller) -> Json<Value> {
    data(RECIPES.iter().map(view).collect::<Vec<_>>())
}

fn view(recipe: &RecipeDefinition) -> Value {
    json!({
        "id": recipe.id,
        "recipe": recipe.slug,
        "name": recipe.label,
        "fields": recipe.fields.iter().map(field).collect::<Vec<_>>(),
    })
}

fn field(field: &FieldDefinition) -> Value {
    json!({
        "key": field.key,
        "label": field.label,
        "type": field.kind,
        "required": field.required,
        "default": field.default.as_ref().map(|default| default.to_json()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_what_a_file_backup_needs() {
        let fields = json!([
            {"key": "root_path", "label": "Root Paths", "type": "textarea", "required": true, "default": null},
            {"key": "exclude", "label": "Exclude List", "type": "textarea", "required": false, "default": ""},
            {"key": "compression_level", "label": "Compression Level", "type": "number", "required": false, "default": 6},
            {"key": "use_sudo", "label": "Run using Sudo?", "type": "checkbox", "required": false, "default": "False"},
        ]);
        assert_eq!(
            view(&RECIPES[0]),
            json!({"id": 1, "recipe": "file-backups", "name": "File Backups", "fields": fields})
        );
    }
}
