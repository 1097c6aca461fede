//! The API that the board's UI calls, in the JSON shapes of `apalis-board-api`.
//!
//! The routes are those of that crate's adapters for other frameworks, except that nothing
//! can be pushed: a PUT is answered with 405. Errors are `application/problem+json`; the
//! page shows them as text.

use apalis_board_api::RawTask;
use jobs::{
    Queue,
    board::{Board, BoardError, QueueInfo, RunningWorker, Statistic, Status, TaskFilter},
};
use poem::{
    Endpoint, EndpointExt, Error, IntoEndpoint, Response, Result, Route, get, handler,
    http::{StatusCode, header},
    web::{Data, Json, Path, Query, sse::SSE},
};
use serde::Deserialize;
use serde_json::{Value, json};
use tracing::error;

use super::LogStream;

/// Tasks a page: what the UI asks for is 15.
const DEFAULT_PAGE_SIZE: u32 = 15;
const MAX_PAGE_SIZE: u32 = 100;

type Task = RawTask<Value>;

/// All routes of the board's API; anything else below them is a 404 in JSON.
pub(super) fn routes(
    queue: &Queue,
    logs: LogStream,
) -> impl IntoEndpoint<Endpoint = impl Endpoint + use<>> + use<> {
    Route::new()
        .at("/queues", get(list_queues))
        .at("/tasks", get(list_tasks))
        .at("/workers", get(list_workers))
        .at("/overview", get(show_overview))
        .at("/events", get(follow_events))
        .at("/queues/:queue/tasks", get(list_queue_tasks))
        .at("/queues/:queue/tasks/:task_id", get(show_task))
        .at("/queues/:queue/stats", get(show_queue_statistics))
        .at("/queues/:queue/workers", get(list_queue_workers))
        .data(Board::new(queue))
        .data(logs)
        .catch_all_error(|error| async move { problem(&error) })
}

#[handler]
async fn list_queues(board: Data<&Board>) -> Result<Json<Vec<QueueInfo>>> {
    board.queues().await.map(Json).map_err(failed)
}

#[handler]
async fn list_workers(board: Data<&Board>) -> Result<Json<Vec<RunningWorker>>> {
    board.workers(None).await.map(Json).map_err(failed)
}

#[handler]
async fn show_overview(board: Data<&Board>) -> Result<Json<Vec<Statistic>>> {
    board.overview().await.map(Json).map_err(failed)
}

#[handler]
async fn list_tasks(board: Data<&Board>, page: Query<TaskPage>) -> Result<Json<Vec<Task>>> {
    tasks(&board, None, &page).await
}

#[handler]
async fn list_queue_tasks(
    board: Data<&Board>,
    queue: Path<String>,
    page: Query<TaskPage>,
) -> Result<Json<Vec<Task>>> {
    tasks(&board, Some(&queue), &page).await
}

#[handler]
async fn show_task(
    board: Data<&Board>,
    Path((queue, task_id)): Path<(String, String)>,
) -> Result<Json<Task>> {
    let task = board.task(&queue, &task_id).await.map_err(failed)?;
    task.map(|task| Json(RawTask(task)))
        .ok_or_else(|| Error::from_status(StatusCode::NOT_FOUND))
}

#[handler]
async fn show_queue_statistics(
    board: Data<&Board>,
    queue: Path<String>,
) -> Result<Json<Vec<Statistic>>> {
    board.statistics(&queue).await.map(Json).map_err(failed)
}

#[handler]
async fn list_queue_workers(
    board: Data<&Board>,
    queue: Path<String>,
) -> Result<Json<Vec<RunningWorker>>> {
    board.workers(Some(&queue)).await.map(Json).map_err(failed)
}

#[handler]
fn follow_events(Data(logs): Data<&LogStream>) -> SSE {
    logs.follow()
}

/// The query of a list of tasks. The UI sends an empty `status` for "all", and a `sort`
/// that its own backends ignore as well.
#[derive(Deserialize)]
struct TaskPage {
    #[serde(default)]
    status: String,
    page: Option<u32>,
    page_size: Option<u32>,
}

impl TaskPage {
    fn filter(&self) -> Result<TaskFilter> {
        let status = match self.status.as_str() {
            "" => None,
            status => Some(status.parse::<Status>().map_err(|unknown| {
                Error::from_string(unknown.to_string(), StatusCode::BAD_REQUEST)
            })?),
        };
        let limit = self
            .page_size
            .unwrap_or(DEFAULT_PAGE_SIZE)
            .clamp(1, MAX_PAGE_SIZE);
        let page = self.page.unwrap_or(1).max(1);
        Ok(TaskFilter {
            status,
            offset: (page - 1).saturating_mul(limit),
            limit,
        })
    }
}

async fn tasks(board: &Board, queue: Option<&str>, page: &TaskPage) -> Result<Json<Vec<Task>>> {
    let tasks = board.tasks(queue, page.filter()?).await.map_err(failed)?;
    Ok(Json(tasks.into_iter().map(RawTask).collect()))
}

/// An unknown queue is the caller's mistake; anything else is the transport's, and the
/// caller is told no more than that.
fn failed(error: BoardError) -> Error {
    match error {
        BoardError::UnknownQueue(name) => Error::from_string(
            format!("there is no queue named {name:?}"),
            StatusCode::NOT_FOUND,
        ),
        error => {
            error!(%error, "failed to read the job transport for the board");
            Error::from_string(
                "the job transport did not answer",
                StatusCode::SERVICE_UNAVAILABLE,
            )
        }
    }
}

/// Any error below `/api/v1` as a problem.
fn problem(error: &Error) -> Response {
    let status = error.status();
    let body = json!({
        "type": "about:blank",
        "title": status.canonical_reason(),
        "status": status.as_u16(),
        "detail": error.to_string(),
    });
    let mut response = Response::builder()
        .status(status)
        .content_type("application/problem+json")
        .body(body.to_string());
    if status == StatusCode::METHOD_NOT_ALLOWED {
        response
            .headers_mut()
            .insert(header::ALLOW, header::HeaderValue::from_static("GET, HEAD"));
    }
    response
}
