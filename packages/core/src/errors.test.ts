import { describe, expect, test } from "vitest";
import { BugError, InputError, isTunesmithError, TunesmithError } from "./index.ts";

describe("TunesmithError", () => {
  test("carries code, details and cause, and is an Error", () => {
    const cause = new Error("disk");
    const error = new InputError("FILE_MISSING", "opening x: no such file", {
      path: "x",
      fix: "check the path",
      cause,
    });
    expect(error).toBeInstanceOf(Error);
    expect(error).toBeInstanceOf(TunesmithError);
    expect(error.code).toBe("FILE_MISSING");
    expect(error.message).toBe("opening x: no such file");
    expect(error.details.path).toBe("x");
    expect(error.cause).toBe(cause);
    expect(new InputError("FILE_MISSING", "x")).not.toHaveProperty("cause");
  });

  test("JSON has what is set, in a fixed order, and never the cause", () => {
    const full = { path: "p", line: 3, expected: "e", received: "r", fix: "f", cause: new Error("secret") };
    expect(JSON.stringify(new InputError("JSON_INVALID", "m", full))).toBe(
      '{"code":"JSON_INVALID","message":"m","path":"p","line":3,"expected":"e","received":"r","fix":"f"}',
    );
    expect(JSON.stringify(new InputError("JSON_INVALID", "m"))).toBe('{"code":"JSON_INVALID","message":"m"}');
  });

  test("a bug says that it is one, unless told better", () => {
    expect(new BugError("x")).toMatchObject({ code: "BUG", message: "x" });
    expect(new BugError("x").details.fix).toContain("report");
    expect(new BugError("x", { fix: "restart" }).details.fix).toBe("restart");
  });
});

describe("isTunesmithError", () => {
  test("knows subclasses and errors of another copy of this package", () => {
    expect(isTunesmithError(new BugError("x"))).toBe(true);
    const foreign = Object.assign(new Error("x"), { [Symbol.for("tunesmith.error")]: true });
    expect(foreign).not.toBeInstanceOf(TunesmithError);
    expect(isTunesmithError(foreign)).toBe(true);
  });

  test.each([[new Error("x")], [{ code: "BUG" }], ["BUG"], [null], [undefined], [7]])("not %s", (value) => {
    expect(isTunesmithError(value)).toBe(false);
  });

  test("its mark is no own enumerable key: spreading and comparing errors see only data", () => {
    expect(Object.keys(new BugError("x"))).not.toContain(Symbol.for("tunesmith.error").toString());
    expect(Object.getOwnPropertySymbols({ ...new BugError("x") })).toEqual([]);
  });
});
