// What the service remembers of who uses this page: shown, and erased at their wish, a part or all of it.

import { askForKey } from "./access.js";
import { KeyError, erase, getJson } from "./api.js";

const ASKED = "Erase everything"; // and then, once more:
const SURE = "Really erase everything?";
const NAMES = { name: "Name", language: "Language", preferences: "Wishes" };

const $ = (id) => document.getElementById(id);
let isSure = false;

// Let the page show and erase; `onErased` follows when nothing is left of who asked.
export function letForget(onErased) {
  $("remembered").addEventListener("click", show);
  $("mind-close").addEventListener("click", () => $("mind").close());
  $("mind-profile").addEventListener("click", () => attempt(async () => {
    await erase("/v1/profile");
    tell(await getJson("/v1/profile"));
    $("mind-said").textContent = "This is forgotten.";
  }));
  $("mind-all").addEventListener("click", () => {
    if (!isSure) return beSure(true);
    attempt(async () => {
      await erase("/v1/me");
      $("mind").close();
      onErased();
    });
  });
}

function show() {
  beSure(false);
  $("mind-said").textContent = "";
  $("mind-known").replaceChildren();
  $("mind-profile").hidden = true;
  $("mind").showModal();
  attempt(async () => tell(await getJson("/v1/profile")));
}

function tell(profile) {
  const known = Object.keys(NAMES).filter((kind) => profile[kind]?.length);
  $("mind-known").replaceChildren(...known.flatMap((kind) => [
    Object.assign(document.createElement("dt"), { textContent: NAMES[kind] }),
    ...[profile[kind]].flat().map((value) => Object.assign(document.createElement("dd"), { textContent: value })),
  ]));
  $("mind-user").textContent = profile.user;
  $("mind-profile").hidden = !known.length;
  if (!known.length) $("mind-said").textContent = "You have told this assistant nothing about yourself that it noted.";
}

function beSure(now) {
  isSure = now;
  $("mind-all").textContent = now ? SURE : ASKED;
}

async function attempt(act) {
  $("mind-problem").hidden = true;
  try {
    await act();
  } catch (error) {
    beSure(false);
    $("mind-problem").textContent = error.message;
    $("mind-problem").hidden = false;
    if (error instanceof KeyError) {
      $("mind").close();
      askForKey(error.message);
    }
  }
}
