// Plants one fault into the sources as they are loaded: nothing on disk changes.
import { mutants } from "./list.mjs";

interface Transform {
  readonly name: string;
  readonly enforce: "pre";
  transform(code: string, id: string): string | undefined;
}

/** The vite plugin for the mutant named in TUNESMITH_MUTANT, or none. */
export function mutantPlugin(name: string | undefined): Transform[] {
  if (name === undefined) return [];
  const mutant = mutants.find((m) => m.name === name);
  if (!mutant) throw new Error(`there is no mutant "${name}"`);
  return [
    {
      name: "mutant",
      enforce: "pre",
      transform(code, id) {
        if (!id.replaceAll("\\", "/").endsWith(mutant.file)) return undefined;
        const pieces = code.split(mutant.find);
        if (pieces.length !== 2)
          throw new Error(
            `mutant "${name}": its text occurs ${pieces.length - 1} times in ${mutant.file}, expected once`,
          );
        return pieces.join(mutant.replace);
      },
    },
  ];
}
