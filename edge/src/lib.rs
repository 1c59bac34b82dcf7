//! The edge: the border of Margrave. A request is a corridor, and `gate.rs` shows it on one screen.

mod address;
mod auth;
mod body;
mod budget;
mod clock;
mod config;
mod entropy;
mod feed;
mod forward;
mod gate;
mod generations;
mod header_map;
mod issuer;
mod limiter;
mod objects;
mod own;
mod respond;
mod sessions;
mod verify;

use worker::{Context, Env, Request, Response, event};

#[event(fetch)]
async fn fetch(request: Request, env: Env, context: Context) -> worker::Result<Response> {
    gate::handle(request, env, context).await
}
