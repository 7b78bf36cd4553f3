// The service's API as the page uses it: a streamed answer, feedback, and what is kept of a conversation.

import { credentials } from "./access.js";

export class ApiError extends Error {
  constructor(message, code = null) {
    super(message);
    this.code = code;
  }
}
export class KeyError extends ApiError {}

const OFFLINE = "The service can't be reached. Check your connection and try again.";

// Ask for an answer; `onStart` gets its ids, `onText` each piece, `onCited` its sources at the end, where it has some.
// Resolves to how it ended, as OpenAI names it. Rejects with ApiError, or AbortError when stopped.
export async function ask(body, signal, onStart, onText, onCited) {
  const response = await post("/v1/chat/completions", { ...body, stream: true }, signal);
  onStart({ conversation: response.headers.get("X-Conversation-Id"), message: response.headers.get("X-Message-Id") });
  let done = false, finish = null;
  for await (const data of events(response)) {
    if (data === "[DONE]") done = true;
    else {
      const value = JSON.parse(data);
      onText(piece(value));
      finish = value.choices[0]?.finish_reason ?? finish;
      if (value.citations) onCited(value.citations);
    }
  }
  if (!done) throw new ApiError("The answer broke off.");
  return finish;
}

export const sendFeedback = (body) => post("/v1/feedback", body);

export const checkKey = (headers) => call("/v1/models", { headers });

export const erase = (path) => call(path, { method: "DELETE", headers: credentials() });

export async function getJson(path) {
  return (await call(path, { headers: credentials() })).json();
}

function post(path, body, signal) {
  const headers = { "Content-Type": "application/json", ...credentials() };
  return call(path, { method: "POST", headers, body: JSON.stringify(body), signal });
}

// Rejects with KeyError where the service wants a key, or another one.
async function call(path, options) {
  const response = await fetch(path, options).catch((error) => {
    throw error.name === "AbortError" ? error : new ApiError(OFFLINE);
  });
  if (response.ok) return response;
  if (response.status === 401 && !options.headers.Authorization) throw new KeyError("This assistant asks for a key.");
  const { message, code } = (await response.json().catch(() => ({}))).error ?? {};
  const Kind = response.status === 401 ? KeyError : ApiError;
  throw new Kind(sentence(message ?? `The service answered with status ${response.status}.`), code);
}

export function sentence(message) {
  return message.charAt(0).toUpperCase() + message.slice(1) + (/[.!?]$/.test(message) ? "" : ".");
}

function piece(value) {
  if (value.error) throw new ApiError("The answer broke off. " + (value.error.code === "engine_unavailable" ? "The model is not available right now." : ""));
  return value.choices[0]?.delta?.content ?? "";
}

async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const parts = (rest + value).split("\n\n");
      rest = parts.pop();
      for (const part of parts) if (part.startsWith("data: ")) yield part.slice(6);
    }
  } catch (error) {
    throw error.name === "AbortError" ? error : new ApiError("The connection broke off.");
  }
}
