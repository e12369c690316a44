// The report is opened from the disk, where a browser loads no modules. Its scripts are classic scripts in one global
// scope: names are unique across files, and tsc (`make type`) finds names that are unknown or declared twice.
import js from "@eslint/js";
import globals from "globals";

const MAX_FUNCTION_LINES = 60;

export default [
  { ignores: ["**/node_modules/", ".venv/", "outputs/", "src/benchhydra/report/vendor/"] },
  js.configs.recommended,
  {
    rules: {
      "max-lines-per-function": ["error", { max: MAX_FUNCTION_LINES, IIFEs: true }],
      eqeqeq: "error",
      "no-implicit-coercion": ["error", { boolean: false }],
      "no-nested-ternary": "error",
      "no-param-reassign": "error",
      "no-shadow": "error",
      "no-var": "error",
      "object-shorthand": "error",
      "prefer-const": "error",
    },
  },
  {
    files: ["src/benchhydra/report/static/*.js"],
    languageOptions: { sourceType: "script", globals: globals.browser },
    rules: {
      strict: ["error", "global"],
      "no-undef": "off", // tsc knows the names of the other files
      "no-unused-vars": ["error", { vars: "local" }], // tests/report/test_scripts.py finds unused global names
    },
  },
];
