import { mount } from "svelte";
import "./app.css";
import App from "./app/App.svelte";
import { applyTheme, theme } from "./player/device";

applyTheme(theme());
const target = document.getElementById("app")!;
target.replaceChildren();
mount(App, { target });
