//! `/v1/recipes`: the kinds of source that a job can have, and what each needs to know.

use axum::Json;
use holdfast_shared::domain::recipe::{FieldDefinition, Need, RECIPES, RecipeDefinition};
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
        required("help", text()),
        required("required", boolean()),
        required("required_without_server", boolean()),
        required("secret", boolean()),
        required("choices", schema::list(text())),
        required("default", anything()),
    ]);
    let recipe = object([
        required("id", id()),
        required("recipe", text()),
        required("name", text()),
        required("computes", schema::list(text())),
        required("fields", schema::list(field)),
    ]);
    vec![("Recipe", recipe)]
}

pub(super) async fn list(_: Caller) -> Json<Value> {
    data(RECIPES.into_iter().map(view).collect::<Vec<_>>())
}

fn view(recipe: &RecipeDefinition) -> Value {
    json!({
        "id": recipe.id,
        "recipe": recipe.slug,
        "name": recipe.label,
        "computes": if recipe.serverless { vec!["server", "ss_serverless"] } else { vec!["server"] },
        "fields": recipe.defaults().into_iter().map(|(definition, default)| field(definition, default)).collect::<Vec<_>>(),
    })
}

/// A secret, and what every job has to say, have no default.
fn field(field: &FieldDefinition, default: Value) -> Value {
    let default = (!field.secret && field.need != Need::Always).then_some(default);
    json!({
        "key": field.key,
        "label": field.label,
        "type": field.kind.as_str(),
        "help": field.help,
        "required": field.need == Need::Always,
        "required_without_server": field.need != Need::Never,
        "secret": field.secret,
        "choices": field.kind.choices(),
        "default": default,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each field of a recipe in one line: key, type, default, and what else there is to say.
    fn printed(slug: &str) -> Vec<String> {
        let shown = view(RecipeDefinition::find(slug).unwrap());
        assert_eq!(shown["recipe"], slug);
        let line = |field: &Value| {
            assert!(field["help"].as_str().is_some_and(|help| !help.is_empty()), "{field}");
            let marks =
                ["required", "required_without_server", "secret"].into_iter().filter(|mark| field[*mark] == true);
            let marks: Vec<_> = marks.collect();
            let (key, kind) = (field["key"].as_str().unwrap(), field["type"].as_str().unwrap());
            format!("{key} {kind} {} {}", field["default"], marks.join(" ")).trim_end().to_owned()
        };
        shown["fields"].as_array().unwrap().iter().map(line).collect()
    }

    #[test]
    fn tells_what_each_source_needs() {
        let files = [
            "root_path textarea null required required_without_server",
            "exclude textarea \"\"",
            "compression_level number 6",
            "use_sudo checkbox \"False\"",
            "one_file_system checkbox \"False\"",
        ];
        assert_eq!(printed("file-backups"), files);
        let redis = [
            "redis_host text \"\" required_without_server",
            "redis_port number 6379",
            "redis_username text \"\"",
            "redis_password password null secret",
            "redis_tls select \"disable\"",
            "redis_tls_ca textarea \"\"",
            "compression_level number 6",
        ];
        assert_eq!(printed("redis-backups"), redis);
        let url = [
            "url text null required required_without_server secret",
            "use_compression checkbox \"False\"",
            "compression_level number 6",
        ];
        assert_eq!(printed("url-backups"), url);
    }

    #[test]
    fn tells_where_each_source_can_be_read_from() {
        let shown: Vec<_> = RECIPES.into_iter().map(view).collect();
        let told: Vec<_> = shown.iter().map(|one| (one["id"].as_u64().unwrap(), one["computes"].to_string())).collect();
        let (server, both) = (r#"["server"]"#.to_owned(), r#"["server","ss_serverless"]"#.to_owned());
        let expected = [
            (1, &server),
            (8, &server),
            (28, &both),
            (1001, &both),
            (1002, &both),
            (1003, &server),
            (1004, &both),
            (1005, &server),
        ];
        assert_eq!(told, expected.map(|(id, computes)| (id, computes.clone())));
    }
}
