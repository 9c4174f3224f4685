// Change an element only if its text changes, so that a page that redraws each second does not flicker or trigger screen readers.

export const find = (id) => document.getElementById(id);

/** Set the text of an element if it differs. */
export function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Set or remove an attribute if it differs. */
export function mark(element, name, value) {
  if (value === "" || value === null || value === undefined) element.removeAttribute(name);
  else if (element.getAttribute(name) !== value) element.setAttribute(name, value);
}

/** Create an element with a class, texts and children. */
export function make(tag, className = "", ...content) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.append(...content);
  return element;
}

/** Rows that are kept as long as their key exists: `create` makes a row, `update` fills it; both get the item. */
export class Rows {
  constructor(parent, keyOf, create, update) {
    Object.assign(this, { parent, keyOf, create, update, known: new Map() });
  }

  show(items) {
    const wanted = new Set(items.map(this.keyOf));
    for (const [key, row] of this.known) {
      if (wanted.has(key)) continue;
      row.remove();
      this.known.delete(key);
    }
    items.forEach((item, place) => {
      const key = this.keyOf(item);
      let row = this.known.get(key);
      if (!row) this.known.set(key, (row = this.create(item)));
      if (this.parent.children[place] !== row) this.parent.insertBefore(row, this.parent.children[place] ?? null);
      this.update(row, item);
    });
  }
}

/** Create a table row with a cell for each class name; the first cell is its heading. */
export function tableRow(classNames) {
  const row = document.createElement("tr");
  classNames.forEach((className, number) => {
    const cell = make(number ? "td" : "th", className);
    if (!number) cell.scope = "row";
    row.append(cell);
  });
  return row;
}

/** Write texts into the cells of a row; undefined leaves a cell unchanged. */
export function fill(row, texts) {
  texts.forEach((text, number) => text !== undefined && write(row.children[number], text));
}
