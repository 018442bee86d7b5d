"use strict";
(() => {
  const explain = (reason) => {
    const place = document.getElementById("not-loaded-reason");
    if (place === null) return;
    place.textContent = reason;
    place.parentElement.className = "";
  };
  const ask = async (url) => {
    const base = document.documentElement.dataset.baseUrl;
    const moved = decoded(location.pathname).startsWith(decoded(base))
      ? ""
      : ` This page is at ${location.pathname}, but Jupyter's base_url is ${base}: a proxy changes the path; set ServerApp.base_url to the path outside.`;
    try {
      const response = await fetch(url);
      const text = await response.text();
      const kind = response.headers.get("Content-Type") || "no type";
      if (!response.ok) return `${url} answered ${response.status}: ${reasonIn(text) || response.statusText}.${moved}`;
      if (!/javascript|css/.test(kind)) return `${url} is not a script, but ${kind}: something in front of Jupyter answers in its place.${moved}`;
      return `${url} can be loaded, but the browser did not run it: a script blocker, or a policy of a proxy, may forbid it.`;
    } catch (error) {
      return `${url} cannot be loaded: ${error.message}.${moved}`;
    }
  };
  const decoded = (path) => {
    try {
      return decodeURIComponent(path);
    } catch {
      return path;
    }
  };
  const reasonIn = (text) => {
    try {
      return String(JSON.parse(text).message).slice(0, 500);
    } catch {
      return "";
    }
  };
  const show = (reason) => {
    if (document.readyState === "loading") addEventListener("DOMContentLoaded", () => explain(reason));
    else explain(reason);
  };
  addEventListener(
    "error",
    (event) => {
      const { target } = event;
      if (target instanceof HTMLScriptElement) void ask(target.src).then(show);
      else if (target === window && event.message) show(`The script failed: ${event.message}`);
    },
    true,
  );
  addEventListener("securitypolicyviolation", (event) => {
    if (event.effectiveDirective.startsWith("script-src")) show(`A policy (${event.effectiveDirective}) forbids ${event.blockedURI}; a proxy in front may have set it.`);
  });
  addEventListener("unhandledrejection", (event) => show(`The script failed: ${event.reason}`));
})();
