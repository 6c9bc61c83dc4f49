const DAYS = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const MONTHS = ["January", "February", "March", "April", "May", "June", "July"].concat([
  "August",
  "September",
  "October",
  "November",
  "December",
]);

/**
 * Python's `strftime` in the C locale for the directives that templates use. The clock is read through its UTC fields,
 * so a time without a zone is written as UTC.
 * @throws Error on a directive that is not known
 */
export function strftime(now: Date, format: string): string {
  const pad = (n: number, width = 2): string => String(n).padStart(width, "0");
  const hour12 = now.getUTCHours() % 12 || 12;
  const year = now.getUTCFullYear();
  const dayOfYear = (Date.UTC(year, now.getUTCMonth(), now.getUTCDate()) - Date.UTC(year, 0, 1)) / 86_400_000 + 1;
  const day = DAYS[now.getUTCDay()]!;
  const month = MONTHS[now.getUTCMonth()]!;
  const directives: Record<string, () => string> = {
    a: () => day.slice(0, 3),
    A: () => day,
    b: () => month.slice(0, 3),
    B: () => month,
    d: () => pad(now.getUTCDate()),
    e: () => String(now.getUTCDate()).padStart(2),
    f: () => pad(now.getUTCMilliseconds() * 1000, 6),
    F: () => `${year}-${pad(now.getUTCMonth() + 1)}-${pad(now.getUTCDate())}`,
    H: () => pad(now.getUTCHours()),
    I: () => pad(hour12),
    j: () => pad(dayOfYear, 3),
    m: () => pad(now.getUTCMonth() + 1),
    M: () => pad(now.getUTCMinutes()),
    p: () => (now.getUTCHours() < 12 ? "AM" : "PM"),
    S: () => pad(now.getUTCSeconds()),
    T: () => `${pad(now.getUTCHours())}:${pad(now.getUTCMinutes())}:${pad(now.getUTCSeconds())}`,
    w: () => String(now.getUTCDay()),
    y: () => pad(year % 100),
    Y: () => String(year),
    "%": () => "%",
  };
  return format.replace(/%(-?)(.?)/gsu, (whole, flag: string, letter: string) => {
    const directive = Object.hasOwn(directives, letter) ? directives[letter]!() : undefined;
    if (directive === undefined) throw new Error(`strftime_now: unknown directive ${whole}`);
    return flag === "-" ? directive.replace(/^[0 ]+(?=.)/, "") : directive;
  });
}
